"""Yorùbá news titles with distant supervision (Hedderich et al. 2020, arXiv 2010.03179)."""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, Split, data_root, missing_file
from l2b.files import named_if_not_utf8
from l2b.tfidf import check_max_features, tfidf

CLASSES = ("africa", "entertainment", "health", "nigeria", "politics", "sport", "world")
SOURCE = "https://github.com/uds-lsv/transfer-distant-transformer-african (data/yoruba_newsclass)"
TITLE, LABEL = "news_title", "label"


@dataclass(frozen=True, kw_only=True)
class Yoruba(Dataset):
    """Yorùbá news: 1,340 titles, 7 topics, real noise from word lists (33 %), as TF-IDF.

    The annotation ``weak`` holds the labels by distant supervision, for the noise model
    ``existing``. The 189 titles of the development set follow the training titles and are the
    trusted samples.

    Attributes:
        root: folder of the official .tsv files; by default $L2B_DATA/yoruba_news, else
            ./data/yoruba_news.
        max_features: number of most frequent words to keep; None keeps all (4,059).
    """

    root: Path | str | None = None
    max_features: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty vocabulary."""
        check_max_features("Yoruba", self.max_features)

    def load(self) -> Source:
        """Read all four files."""
        root = data_root(self.root, "yoruba_news")
        names = ("train_clean", "dev", "test", "train_clean_noisy_labels")
        (train, y_train), (dev, y_dev), (test, y_test), (same, weak) = (
            _read(root / f"{name}.tsv") for name in names
        )
        if train != same:
            raise ValueError(
                f"{root / 'train_clean_noisy_labels.tsv'} must hold the titles of "
                "train_clean.tsv in the same order, and does not: its labels would be given to "
                "other titles. Fetch both files again."
            )
        texts = tfidf(train, dev, test, max_features=self.max_features)
        return Source(
            train=Split(torch.cat(texts.splits[:2]), torch.cat([y_train, y_dev])),
            test=Split(texts.splits[2], y_test),
            classes=CLASSES,
            mean=torch.tensor(0.0),
            std=texts.scale,
            annotations={"weak": torch.cat([weak, y_dev])},
            trusted=torch.arange(len(train), len(train) + len(dev)),
        )


def _read(path: Path) -> tuple[list[str], Tensor]:
    """Titles and class indices of one file."""
    if not path.is_file():
        raise missing_file(path, SOURCE)
    with named_if_not_utf8(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {TITLE, LABEL} <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path} must have the tab-separated columns {TITLE} and {LABEL}, got "
                f"{', '.join(reader.fieldnames or ()) or 'none'}."
            )
        rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if row[LABEL] not in CLASSES:
            raise ValueError(
                f"{path} must hold one of {', '.join(CLASSES)} as {LABEL}, got {row[LABEL]!r} in "
                f"line {number}: the line is cut or from another data set."
            )
    labels = torch.tensor([CLASSES.index(row[LABEL]) for row in rows])
    return [row[TITLE] for row in rows], labels
