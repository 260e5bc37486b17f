"""Checkpoints: several, numbered, each with its checksum; the newest intact one counts."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from l2b.files import read_tree, remove_partial, write_tree
from l2b.notices import notice

NAME = re.compile(r"epoch-(\d+)(?:-step-(\d+))?\.safetensors")


class Place(NamedTuple):
    """How far a run has come.

    Attributes:
        epoch: whole epochs done.
        step: steps done of the next one; 0 between epochs.
    """

    epoch: int
    step: int


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, and the rows of its ledger.

    A checkpoint between epochs is complete. One within an epoch holds what changed since the
    one before it, which is kept along with it. The ledger is written once per epoch, a file
    for each, so no checkpoint grows with the number of epochs.

    Attributes:
        path: their folder.
    """

    path: Path

    def write(self, place: Place, state: object, *, keep: int) -> None:
        """Write a checkpoint; then remove those that are no longer needed.

        Args:
            place: how far the run has come.
            state: what `write_tree` can write.
            keep: checkpoints between epochs to keep.
        """
        self.path.mkdir(exist_ok=True)
        write_tree(self._file(place), state)
        between = [p for p in self.places() if p.step == 0]
        oldest = between[:keep][-1] if between else Place(0, 0)
        for other in self.places():
            if other < oldest or (other.step and other != place):
                self._file(other).unlink(missing_ok=True)

    def read(self, place: Place) -> Any:
        """What was written there.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is damaged.
        """
        return read_tree(self._file(place))

    def write_row(self, epoch: int, row: dict[str, Tensor]) -> None:
        """Write what the ledger holds for one epoch (0-based)."""
        self.path.mkdir(exist_ok=True)
        write_tree(self._row(epoch), row)

    def rows(self, epochs: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """The ledger of every epoch before this one whose file is intact."""
        for epoch in range(epochs):
            row = _intact(self._row(epoch))
            if row is not None:
                yield epoch, row

    def remove(self) -> None:
        """Remove everything, of a run that is never resumed."""
        shutil.rmtree(self.path, ignore_errors=True)

    def places(self) -> list[Place]:
        """All that is there, newest first, intact or not."""
        found = [NAME.fullmatch(p.name) for p in self.path.glob("epoch-*")]
        places = [Place(int(m[1]), int(m[2] or 0)) for m in found if m]
        return sorted(places, reverse=True)

    def newest(self) -> Place | None:
        """The newest place from which the run can go on, everything before it intact.

        A damaged file costs one line of warning and the work since the checkpoint before it. A
        damaged ledger of an epoch before all checkpoints cannot be had again: it counts as
        unseen, and the run goes on.

        Raises:
            ValueError: if there are checkpoints and none is intact.
        """
        remove_partial(self.path)
        places = self.places()
        intact = [place for place in places if self._whole(place)]
        if not intact:
            if places:
                raise ValueError(
                    f"All {len(places)} checkpoints in {self.path} are damaged: start the run "
                    "afresh with --overwrite, or remove its folder."
                )
            return None
        lost = self._lost_rows(intact[0].epoch)
        place = next((p for p in intact if not lost or p.epoch <= lost[0]), None)
        if place is None:
            place = intact[0]
            numbers = ", ".join(str(epoch + 1) for epoch in lost)
            notice(
                f"The ledger of epoch {numbers} in {self.path} is damaged and counts as unseen; "
                "the model is not affected."
            )
        elif place != places[0]:
            notice(
                f"A newer file in {self.path} is damaged: going on from the intact checkpoint "
                f"after epoch {place.epoch}{f', step {place.step}' if place.step else ''}."
            )
        return place

    def _whole(self, place: Place) -> bool:
        if _intact(self._file(place)) is None:
            return False
        return place.step == 0 or place.epoch == 0 or self._whole(Place(place.epoch, 0))

    def _lost_rows(self, epochs: int) -> list[int]:
        whole = {epoch for epoch, _ in self.rows(epochs)}
        return [epoch for epoch in range(epochs) if epoch not in whole]

    def _file(self, place: Place) -> Path:
        step = f"-step-{place.step:07d}" if place.step else ""
        return self.path / f"epoch-{place.epoch:05d}{step}.safetensors"

    def _row(self, epoch: int) -> Path:
        return self.path / f"ledger-{epoch:05d}.safetensors"


def _intact(path: Path) -> Any:
    try:
        return read_tree(path)
    except (ValueError, OSError):
        return None
