"""TREC questions with weak labels (Li and Roth 2002; rules: Awasthi et al. 2020)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, Split, data_root, missing_file
from l2b.tfidf import check_max_features, tfidf

CLASSES = ("description", "entity", "human", "abbreviation", "location", "number")
SOURCE = "https://github.com/weakrules/Denoise-multi-weak-sources (data/trec)"
ABSTAIN = -1
FIELDS = {"text": str, "label": int, "major": int}


@dataclass(frozen=True, kw_only=True)
class Trec(Dataset):
    """TREC: 4,585 questions, 6 kinds of answer, real noise from voting rules (46 %), as TF-IDF.

    The annotation ``weak`` holds the majority vote of the rules, for the noise model
    ``existing``; questions on which all rules abstain are left out. The development set
    follows the training questions and is the trusted set.

    Attributes:
        root: folder of the official train_data.json, dev_data.json and test_data.json; by
            default $L2B_DATA/trec_weak, else ./data/trec_weak.
        max_features: number of most frequent words to keep; None keeps all (7,538).
    """

    root: Path | str | None = None
    max_features: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty vocabulary."""
        check_max_features("Trec", self.max_features)

    def load(self) -> Source:
        """Read all three files."""
        root = data_root(self.root, "trec_weak")
        train, dev, test = (_read(root / f"{n}_data.json") for n in ("train", "dev", "test"))
        train = [row for row in train if row["major"] != ABSTAIN]
        texts = tfidf(
            *([row["text"] for row in rows] for rows in (train, dev, test)),
            max_features=self.max_features,
        )
        trusted = _labels(dev, "label")
        return Source(
            train=Split(torch.cat(texts.splits[:2]), torch.cat([_labels(train, "label"), trusted])),
            test=Split(texts.splits[2], _labels(test, "label")),
            classes=CLASSES,
            mean=torch.tensor(0.0),
            std=texts.scale,
            annotations={"weak": torch.cat([_labels(train, "major"), trusted])},
            trusted=torch.arange(len(train), len(train) + len(dev)),
        )


def _labels(rows: list[dict[str, Any]], field: str) -> Tensor:
    return torch.tensor([row[field] for row in rows])


def _read(path: Path) -> list[dict[str, Any]]:
    """Questions of one file, each with text, label and majority vote."""
    if not path.is_file():
        raise missing_file(path, SOURCE)
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file ({error}): fetch it again.") from error
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path} must hold a list of questions, got {type(rows).__name__}.")
    for number, row in enumerate(rows):
        _check(row, number, path)
    return rows


def _check(row: object, number: int, path: Path) -> None:
    whole = isinstance(row, dict) and all(type(row.get(f)) is kind for f, kind in FIELDS.items())
    if not whole or row["label"] not in range(6) or row["major"] not in range(ABSTAIN, 6):  # type: ignore[index]
        raise ValueError(
            f"{path} must hold questions with text, label in [0, 6) and major, the vote of the "
            f"rules, in [-1, 6) where -1 is an abstention; question {number} has not."
        )
