"""Your own CSV or Parquet file of texts, table columns or image paths."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l2b.catalog import unknown
from l2b.datasets.base import Dataset, Source, Split, moments
from l2b.datasets.base_table import check_roles, label_in, once, sample_ids
from l2b.decisions import Decision, marked, read_decisions
from l2b.decode import decode_images
from l2b.features import Encoding, column_features, scale_of, text_encoding
from l2b.features.columns import MISSING
from l2b.notices import notice
from l2b.tables import TableFile

MOST_CLASSES = 1000
UNSPACED = "The texts have no spaces between words: characters and pairs of them are counted."
ROW_NUMBERS = re.compile(r"|Unnamed: \d+(\.\d+)*|__index_level_\d+__")  # as pandas writes them
SHOWN = 5  # columns that a remark names


@dataclass(frozen=True, kw_only=True)
class TableLabels:
    """The labels of a table, and which of them were checked; rows without one are left out.

    Attributes:
        rows: position of each sample in the file, from 0, [N].
        ids: the samples' ids; empty if the table has none.
        observed: labels as given, class indices, [N].
        checked: right label where a person checked it, −1 elsewhere, [N].
        classes: names of the classes, sorted.
        skipped: number of rows without a label.
        blanks: what these hold in its place, such as NA; nothing is not among it.
    """

    rows: np.ndarray
    ids: tuple[str, ...]
    observed: np.ndarray
    checked: np.ndarray
    classes: tuple[str, ...]
    skipped: int
    blanks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table(Dataset):
    """Your own CSV or Parquet file: a column of texts, of image paths, or plain columns.

    Texts become TF-IDF features; without ``text`` and ``image``, all other columns are used:
    numbers as they are, categories one-hot, gaps filled and marked. Row numbers as pandas writes
    them (a column without a name, ``Unnamed: 0``, ``__index_level_0__``) are left out, for they
    tell the class where rows are sorted. Files are read a few rows at a time.

    Commas in numbers are decimal (1,05 is 1.05) in columns that have no points; where all of them
    could part thousands (1,234), only in files of semicolons, else the column is not read as
    numbers.

    Attributes:
        path: the file, with a header line; UTF-8.
        label: column of the observed labels; rows without one (empty, NA, N/A, NaN or null) are
            left out.
        text: column of texts.
        image: column of image paths.
        folder: where image paths begin; the file's own folder if empty.
        clean: column that tells checked samples: either yes or no (1/0, true/false), or the
            checked label itself, empty where nobody checked. What could be both, such as 1/0
            where these are the classes, is refused.
        checked: CSV files of checked labels, such as exports of ``audit.html``; later ones win.
        id: column of ids, each used once; if empty, the paths of images, where they differ.
        size: height and width to which images are brought, in pixels.
        ignore: columns that are not learned from, such as a row number.
    """

    path: Path | str
    label: str
    text: str = ""
    image: str = ""
    folder: str = ""
    clean: str = ""
    checked: tuple[str, ...] = ()
    id: str = ""
    size: int = 32
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse two kinds of input at once, a column that is two things, and no pixels."""
        columns = {role: getattr(self, role) for role in ("text", "image", "clean", "id")}
        check_roles("Table", {self.label: "label"}, columns, self.size)

    def load(self) -> Source:
        """Read labels and features; checked labels replace those as given."""
        found = self.labels()
        known = found.checked >= 0
        labels = torch.from_numpy(np.where(known, found.checked, found.observed))
        inputs, mean, std, encoding, remark = self.inputs(found.rows)
        self._tell_doubtful(found.classes)
        if found.skipped:
            blanks = f" ({', '.join(found.blanks)})" if found.blanks else ""
            remark = f"{found.skipped} rows without a label{blanks} were left out. {remark}".strip()
        return Source(
            train=Split(inputs, labels),
            test=None,
            classes=found.classes,
            mean=mean,
            std=std,
            truth_known=False,
            trusted=torch.from_numpy(known.nonzero()[0]) if known.any() else None,
            encoding=encoding,
            remark=remark,
        )

    def labels(self) -> TableLabels:
        """Read the labels only.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: on unknown columns, repeated ids, or labels that are no classes.
        """
        self._file.check_columns(self.ignore)
        rows, names, given, marks = [], [], [], []
        blanks: Counter[str] = Counter()
        for position, (label, *rest) in self._labelled(blanks):
            rows.append(position)
            given.append(label)
            names += [rest[-1].strip()] if self.id or self.image else []
            marks += [label_in(rest[0])] if self.clean else []
        self._check(given)
        ids = sample_ids(names, self.id, self.path)
        checked = self._checked(rows, names, given, marks)
        classes = tuple(sorted(set(given) | set(checked.values()), key=_order))
        code = {name: k for k, name in enumerate(classes)}
        truth = np.full(len(rows), -1, dtype=np.int64)
        for place, name in checked.items():
            truth[place] = code[name]
        return TableLabels(
            rows=np.array(rows),
            ids=ids,
            observed=np.array([code[name] for name in given]),
            checked=truth,
            classes=classes,
            skipped=blanks.total(),
            blanks=tuple(sorted(filter(None, blanks))),
        )

    def _labelled(self, blanks: Counter[str]) -> Iterator[tuple[int, list[str]]]:
        """Position, label and further cells of the rows that have one; counts what others hold."""
        names = [self.label, *filter(None, (self.clean, self.id or self.image))]
        for position, (cell, *rest) in enumerate(self._file.rows(names)):
            label = label_in(cell)
            if label:
                yield position, [label, *rest]
            else:
                blanks[cell.strip()] += 1

    def previews(self, rows: np.ndarray, characters: int = 240) -> Iterator[str]:
        """What a person needs to see of each sample: its text, path, or first columns."""
        names = [self.text or self.image] if self.text or self.image else list(self._features())
        for cells in self._kept(names, rows):
            shown = cells[0] if self.text or self.image else _pairs(names, cells)
            yield shown if len(shown) <= characters else f"{shown[:characters]}…"

    def images(self, rows: np.ndarray) -> list[Path]:
        """The image file of each sample.

        Raises:
            FileNotFoundError: if one is missing.
            ValueError: if one lies outside the folder.
        """
        base = Path(self.folder) if self.folder else Path(self.path).parent
        paths = [base / cells[0].strip() for cells in self._kept([self.image], rows)]
        root = os.path.abspath(base)  # noqa: PTH100 — links are followed, dots are not
        for path in paths:
            if not Path(os.path.abspath(path)).is_relative_to(root):  # noqa: PTH100
                raise ValueError(
                    f"{self.path} names the image {path}, which lies outside the folder {base}: "
                    "set the folder of images (--images; of l2b run --folder) to one that holds "
                    "all."
                )
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of the images that {self.path} names do not exist, such as "
                f"{missing[0]}: set the folder in which the paths begin (--images; of l2b run "
                "--folder), or remove those rows."
            )
        return paths

    @property
    def _file(self) -> TableFile:
        return TableFile(Path(self.path))

    def _others(self) -> tuple[str, ...]:
        """Columns that nobody has said anything of."""
        own = {self.label, *filter(None, (self.clean, self.id)), *self.ignore}
        return tuple(name for name in self._file.columns if name not in own)

    def _features(self) -> tuple[str, ...]:
        return tuple(name for name in self._others() if not ROW_NUMBERS.fullmatch(name))

    def _kept(self, names: Sequence[str], rows: np.ndarray) -> Iterator[tuple[str, ...]]:
        """Cells of the samples at these positions, which must be sorted."""
        wanted = iter(rows.tolist())
        following = next(wanted, None)
        for position, cells in enumerate(self._file.rows(names)):
            if following is None:
                return
            if position == following:
                yield cells
                following = next(wanted, None)

    def inputs(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Encoding | None, str]:
        """Inputs of the samples at these sorted positions, then mean, std, encoding, remark."""
        if self.image:
            paths = self.images(rows)
            pixels = decode_images(paths, self.size, name=self.path, resize=True)
            return pixels, *moments(pixels), None, ""
        if self.text:
            encoding, words = text_encoding(
                self.text, lambda: (cells[0] for cells in self._kept([self.text], rows))
            )
            # Not centred, so that absent words stay zero.
            scale = torch.tensor(scale_of(words))
            remark = UNSPACED if encoding.characters else ""
            return torch.from_numpy(words), torch.tensor(0.0), scale, encoding, remark
        names = list(self._features())
        columns = column_features(
            names, lambda: self._kept(names, rows), decimal_commas=self._file.delimiter == ";"
        )
        values = torch.from_numpy(columns.values)
        used = (*columns.used[:SHOWN], *(["…"] if len(columns.used) > SHOWN else []))
        numbers = [name or "(no name)" for name in self._others() if name not in names]
        said = {
            f"Columns used ({len(columns.used)})": used,
            "Columns not used": columns.ignored,
            "Row numbers, not used": numbers,
            "Decimal commas read in": columns.commas,
        }
        remark = " ".join(f"{what}: {', '.join(which)}." for what, which in said.items() if which)
        return values, *moments(values), columns.encoding, remark

    def _tell_doubtful(self, classes: tuple[str, ...]) -> None:
        """What may be a class or may be none: nobody but the user knows."""
        found = " and ".join(repr(name) for name in classes if name.lower() in MISSING)
        if found:
            notice(
                f"Column {self.label!r} of {self.path} holds {found}, which counts as a class: "
                "leave cells empty where there is no label."
            )
        spelt: dict[str, str] = {}
        for name in classes:
            other = spelt.setdefault(name.casefold(), name)
            if other != name:
                notice(
                    f"Column {self.label!r} of {self.path} holds {other!r} and {name!r}, which "
                    "count as two classes: write them alike if they are one."
                )

    def _check(self, given: list[str]) -> None:
        classes = len(set(given))
        if classes < 2:
            raise ValueError(
                f"Column {self.label!r} of {self.path} must hold at least 2 different labels, got "
                f"{classes} in {len(given)} rows: there is nothing to tell apart."
            )
        if classes > max(2, min(MOST_CLASSES, len(given) // 2)):
            raise ValueError(
                f"Column {self.label!r} of {self.path} must hold classes, got {classes:,} "
                f"different values in {len(given):,} rows: name the column of the labels."
            )

    def _checked(
        self, rows: list[int], names: list[str], given: list[str], marks: list[str]
    ) -> dict[int, str]:
        """Checked label of the samples that have one, by their place among the samples."""
        found = marked(given, marks, self.label, self.clean, self.path) if self.clean else {}
        by_id, by_index = once(names), {str(row): k for k, row in enumerate(rows)}
        for file in map(Path, self.checked):
            found |= self._checked_in(file, by_id, by_index, given, found)
        return found

    def _checked_in(
        self,
        file: Path,
        by_id: dict[str, int],
        by_index: dict[str, int],
        given: list[str],
        before: dict[int, str],
    ) -> dict[int, str]:
        found, known = {}, set(given)
        for decision in read_decisions(file):
            named = bool(self.id or (self.image and decision.id))  # these went by row once
            key = _key(decision, file, by_id=named)
            place = by_id if named else by_index
            if key not in place:
                alone = " in one row alone" if named and self.image and not self.id else ""
                raise ValueError(
                    f"{file} names sample {key!r}, which {self.path} does not have{alone}: is it "
                    "of another file?"
                )
            if decision.label not in known:
                raise ValueError(f"In {file}: {unknown('label', decision.label, sorted(known))}")
            label, earlier = given[place[key]], before.get(place[key])
            fits = label in (decision.observed, decision.label) or earlier == decision.observed
            if decision.observed and not fits:
                advice = (
                    "give the file that was audited."
                    if named
                    else "have rows moved since? Give the file that was audited, or ids (--id)."
                )
                raise ValueError(
                    f"{file} saw sample {key!r} labelled {decision.observed!r}, but {self.path} "
                    f"labels it {label!r}: {advice}"
                )
            found[place[key]] = decision.label
        return found


def _key(decision: Decision, file: Path, *, by_id: bool) -> str:
    key = decision.id if by_id else decision.index
    if not key:
        raise ValueError(
            f"{file} must name samples in the column {'id' if by_id else 'index'}, got an empty "
            "cell there: it could be any sample."
        )
    return key


def _pairs(names: Sequence[str], cells: Sequence[str]) -> str:
    pairs = zip(names, cells, strict=True)
    return " · ".join(f"{name} {cell.strip() or '–'}" for name, cell in pairs)


def _order(name: str) -> tuple[int, float, str]:
    """Numbers by size, then words by letter."""
    try:
        value = float(name)
    except ValueError:
        value = math.nan
    return (1, 0.0, name) if math.isnan(value) else (0, value, name)
