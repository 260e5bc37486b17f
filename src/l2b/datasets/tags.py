"""Your own CSV or Parquet file of samples with several yes-or-no labels each."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from l2b.answers import answers_by_name, decided_answers
from l2b.datasets.arrays import NO_YES, check_tags
from l2b.datasets.base import Dataset, Source, Split
from l2b.datasets.base_table import NO_LABEL, check_roles, label_in, once, sample_ids
from l2b.datasets.table import Table
from l2b.decisions import NO, YES
from l2b.tables import TableFile
from l2b.targets import VOID

ANSWERS = (
    dict.fromkeys(YES, 1)
    | dict.fromkeys(NO, 0)
    | dict.fromkeys(NO_LABEL | {"-1", "-1.0"}, -1)  # among them the empty cell
)


@dataclass(frozen=True, kw_only=True)
class TagLabels:
    """The tags of a table; rows in which none is known are left out.

    Attributes:
        rows: position of each sample in the file, from 0, [N].
        ids: the samples' ids; empty if the table has none.
        observed: tags as given, 1 for yes, 0 for no, −1 where nobody knows, [N, tags].
        checked: right answers where a person checked them, −1 elsewhere, [N, tags].
        skipped: number of rows without a known tag.
    """

    rows: np.ndarray
    ids: tuple[str, ...]
    observed: np.ndarray
    checked: np.ndarray
    skipped: int


@dataclass(frozen=True, kw_only=True)
class Tags(Dataset):
    """Your own CSV or Parquet file of samples that have several yes-or-no labels each.

    Each tag is a column: yes is 1, true, yes, y or x; no is 0, false, no or n; -1, NA, N/A, NaN
    and null say that nobody knows. Inputs are as `Table` has them: a column of texts, of image
    paths, or all columns that have no other meaning.

    Attributes:
        path: the file, with a header line; UTF-8.
        tags: columns of the yes-or-no labels, at least 2; rows in which nobody knows any of them
            are left out.
        blank: what an empty cell of a tag means: that nobody knows (unknown), or no, as where
            reports list only what was found.
        text: column of texts.
        image: column of image paths.
        folder: where image paths begin; the file's own folder if empty.
        clean: column that tells by yes or no (1/0, true/false) whether all tags of a row were
            checked.
        checked: CSV files of answers that were checked one by one, such as exports of
            ``audit.html``; later ones win. The other answers of their samples stay as they are.
        id: column of ids, each used once; if empty, the paths of images, where they differ.
        size: height and width to which images are brought, in pixels.
        ignore: columns that are not learned from, such as a row number.
    """

    path: Path | str
    tags: tuple[str, ...]
    blank: Literal["unknown", "no"] = "unknown"
    text: str = ""
    image: str = ""
    folder: str = ""
    clean: str = ""
    checked: tuple[str, ...] = ()
    id: str = ""
    size: int = 32
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse fewer than two tags, two kinds of input, and a column that is two things."""
        if isinstance(self.tags, str):
            raise ValueError(
                f"Tags needs the names of columns as tags, got the text {self.tags!r}: put them "
                "into a tuple, of which each is the name of one column."
            )
        if len(self.tags) < 2:
            raise ValueError(
                f"Tags needs at least 2 tags, got {', '.join(self.tags) or 'none'}: a single one "
                "is an ordinary label of two classes, --data table --label NAME."
            )
        twice = [name for k, name in enumerate(self.tags) if name in self.tags[:k]]
        if twice:
            raise ValueError(
                f"Tags needs different columns as tags, got {twice[0]!r} twice: name each once."
            )
        alike = self._alike
        if self.id and alike:
            raise ValueError(
                f"Tags needs names that cannot be taken for one another, got {alike[0]!r} and "
                f"{alike[1]!r}: rename one, or leave id away."
            )
        if self.blank not in ("unknown", "no"):
            raise ValueError(
                f"Tags needs blank unknown or no, got {self.blank!r}: it is what an empty cell "
                "means."
            )
        columns = {role: getattr(self, role) for role in ("text", "image", "clean", "id")}
        check_roles("Tags", dict.fromkeys(self.tags, "one of tags"), columns, self.size)

    def load(self) -> Source:
        """Read tags and features; checked answers replace those as given."""
        found = self.labels()
        known = found.checked != VOID
        rows = known.any(axis=1)
        single = rows & ((found.observed != VOID) & ~known).any(axis=1)
        inputs, mean, std, encoding, remark = self.table.inputs(found.rows)
        if found.skipped:
            remark = f"{found.skipped} rows without a label were left out. {remark}".strip()
        return Source(
            train=Split(inputs, torch.from_numpy(np.where(known, found.checked, found.observed))),
            test=None,
            classes=NO_YES,
            mean=mean,
            std=std,
            truth_known=False,
            trusted=torch.from_numpy(rows.nonzero()[0]) if rows.any() else None,
            checked=torch.from_numpy(known) if single.any() else None,
            encoding=encoding,
            remark=remark,
            tags=tuple(self.tags),
        )

    def labels(self) -> TagLabels:
        """Read the tags only.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: on unknown columns, repeated ids, cells that are neither yes nor no, or
                tags that are the same in all rows.
        """
        file = TableFile(Path(self.path))
        file.check_columns(self.ignore)
        naming = self.id or self._image_of_answers
        further = [name for name in (self.clean, naming) if name]
        rows, names, observed, checked = [], [], [], []
        position = -1
        for position, cells in enumerate(file.rows([*self.tags, *further])):
            answers = self._answers(cells[: len(self.tags)], position)
            if max(answers) < 0:
                continue
            rest = dict(zip(further, cells[len(self.tags) :], strict=True))
            rows.append(position)
            observed.append(answers)
            names += [rest[naming].strip()] if naming else []
            checked.append(bool(self.clean) and self._is_checked(rest, position))
        ids = sample_ids(names, self.id, self.path)
        given = np.array(observed, dtype=np.int64).reshape(-1, len(self.tags))
        right = np.where(np.array(checked, dtype=bool)[:, None], given, VOID)
        known = {}
        if self.checked:  # images went by row once, and do so where two rows have the same one
            by_row = {str(row): k for k, row in enumerate(rows) if not self.id}
            for places in (by_row, once(names)):
                answers = [observed[k] for k in places.values()]
                known |= answers_by_name(places, places.values(), self.tags, answers)
        for path in map(Path, self.checked):
            decided = decided_answers(
                path, known, self.tags, NO_YES, owner=str(self.path), applied=True
            )
            for (k, number, _), answer in decided.items():
                right[k, number] = answer
        blanks = "" if self.blank == "no" else ", or say that empty cells mean no (--blank no)"
        check_tags(given, self.tags, str(self.path), blanks)
        return TagLabels(
            rows=np.array(rows),
            ids=ids,
            observed=given,
            checked=right,
            skipped=position + 1 - len(rows),
        )

    def previews(self, rows: np.ndarray, characters: int = 240) -> Iterator[str]:
        """What a person needs to see of each sample: its text, path, or first columns."""
        return self.table.previews(rows, characters)

    def images(self, rows: np.ndarray) -> list[Path]:
        """The image file of each sample.

        Raises:
            FileNotFoundError: if one is missing.
            ValueError: if one lies outside the folder.
        """
        return self.table.images(rows)

    def spelled(self) -> dict[str, dict[int, str]]:
        """How each tag's column writes yes (1), no (0) and unknown (−1): as it mostly does."""
        usual = {1: "1", 0: "0", -1: "-1" if self.blank == "no" else ""}
        words = [Counter[tuple[int, str]]() for _ in self.tags]
        for position, cells in enumerate(TableFile(Path(self.path)).rows(self.tags)):
            answers = self._answers(cells, position)
            for counted, answer, cell in zip(words, answers, cells, strict=True):
                counted[answer, cell.strip()] += 1
        rarest_first = [reversed(counted.most_common()) for counted in words]
        return {
            name: usual | {answer: word for (answer, word), _ in often}
            for name, often in zip(self.tags, rarest_first, strict=True)
        }

    @property
    def _alike(self) -> tuple[str, ...]:
        """Two tags of which one ends like the other, for an answer is called <id>/<tag>."""
        pairs = itertools.permutations(self.tags, 2)
        return next((pair for pair in pairs if pair[0].endswith(f"/{pair[1]}")), ())

    @property
    def _image_of_answers(self) -> str:
        """The column of images, if answers can be called by what it holds."""
        return "" if self._alike else self.image

    @property
    def table(self) -> Table:
        """The same file as a table, of which no tag is learned from."""
        return Table(
            path=self.path,
            label=self.tags[0],
            text=self.text,
            image=self.image,
            folder=self.folder,
            clean=self.clean,
            id=self.id,
            size=self.size,
            ignore=(*self.tags[1:], *self.ignore),
        )

    def _answers(self, cells: tuple[str, ...], position: int) -> list[int]:
        """1, 0 or −1 of each tag of a row."""
        meaning = ANSWERS | {"": 0} if self.blank == "no" else ANSWERS
        found = []
        for name, cell in zip(self.tags, cells, strict=True):
            answer = meaning.get(cell.strip().lower())
            if answer is None:
                raise ValueError(
                    f"Column {name!r} of {self.path} must hold yes (1, true, yes, y, x), no (0, "
                    "false, no, n) or what says that nobody knows (-1, NA, NaN, null), got "
                    f"{cell!r} in row {position}, counted from 0: name only columns of yes or no "
                    "as tags."
                )
            found.append(answer)
        return found

    def _is_checked(self, cells: Mapping[str, str], position: int) -> bool:
        cell = cells[self.clean]
        word = label_in(cell).lower()
        if word not in YES | NO:
            raise ValueError(
                f"Column {self.clean!r} of {self.path} must hold yes or no (1/0, true/false), got "
                f"{cell!r} in row {position}, counted from 0: it tells whether all tags of the row "
                "were checked."
            )
        return word in YES
