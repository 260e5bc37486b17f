"""The hippocampus task of the Medical Segmentation Decathlon."""

from dataclasses import dataclass
from pathlib import Path

from l2b.datasets.base import data_root
from l2b.datasets.decathlon import Decathlon


@dataclass(frozen=True, kw_only=True)
class Hippocampus(Decathlon):
    """Hippocampus MRI of the Medical Segmentation Decathlon: 260 volumes, two parts to find.

    Attributes:
        root: folder of the task; by default $L2B_DATA/hippocampus, else ./data/hippocampus.
        axis: across which volumes are cut: 0, 1 or 2.
        size: height and width to which slices are resampled; None pads them instead.
        depth: how many neighbouring slices make one sample, for networks in three dimensions
            (U-Nets need at least 16); None trains on slices.
        limit: keep only the first so many volumes of the list; None keeps all.
        patient: regular expression whose first group in a volume's name, that of its mask without
            folders and .nii.gz, names the patient, such as ``(.+)_visit[0-9]+``; empty takes
            every volume for a patient of its own.
        test: share of the patients held out for testing, drawn once and for all, in (0, 1).
        ignore: value of masks where nobody knows the class: such voxels are neither learned nor
            judged; the official masks have none.
    """

    root: Path | str | None = None

    def folder(self) -> Path:
        """Where the task lies."""
        return data_root(self.root, "hippocampus")
