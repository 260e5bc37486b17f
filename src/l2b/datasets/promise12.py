"""PROMISE12 (Litjens et al. 2014): prostate MRI as MetaImage, .mhd beside .raw."""

from dataclasses import dataclass
from pathlib import Path

from l2b.datasets.base import Dataset, Source, check_depth, check_limit, data_root
from l2b.datasets.base_masks import checked_cases, judging, mask_source
from l2b.grids import Scan
from l2b.metaimage import metaimage_grid, read_metaimage
from l2b.slices import cut
from l2b.volumes import check_pair

SUFFIX = "_segmentation"


@dataclass(frozen=True, kw_only=True)
class Promise12(Dataset):
    """PROMISE12: prostate MRI, 50 labelled volumes, CaseNN.mhd and CaseNN_segmentation.mhd.

    Volumes differ in size and spacing, so slices are resampled. How intensities are handled
    says `l2b.slices.cut`. A ``clean.txt`` beside them names the volumes whose masks were
    checked, one a line, and ``test.txt`` what is held out for testing, as
    `l2b.datasets.mask_folder.MaskFolder` has it.

    Attributes:
        root: folder of the files; by default $L2B_DATA/promise12, else ./data/promise12.
        size: height and width to which slices are resampled.
        depth: how many neighbouring slices make one sample, for networks in three dimensions
            (U-Nets need at least 16); None trains on slices.
        limit: keep only the first so many volumes; None keeps all.
        test: share of the volumes (of the checked ones, if there is ``clean.txt``) held out for
            testing, drawn once and for all, in (0, 1).
    """

    root: Path | str | None = None
    size: int = 128
    depth: int | None = None
    limit: int | None = None
    test: float = 0.2

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        check_limit("Promise12", self.limit)
        check_depth("Promise12", self.depth)
        if self.size < 1:
            raise ValueError(f"Promise12 needs size >= 1, got {self.size}: it is in pixels.")

    def load(self) -> Source:
        """Read every case that has a header."""
        folder = data_root(self.root, "promise12")
        masks = sorted(folder.glob(f"*{SUFFIX}.mhd"))
        images = sorted(p for p in folder.glob("*.mhd") if not p.stem.endswith(SUFFIX))
        if not images:
            raise FileNotFoundError(
                f"There are no .mhd files in {folder.absolute()}. Fetch the training data from "
                "https://promise12.grand-challenge.org and put all of it there, or point to its "
                "folder with --root."
            )
        _check_pairs(images, masks)
        volumes = []
        for path in images[: self.limit]:
            mask_file = path.with_name(f"{path.stem}{SUFFIX}.mhd")
            image, mask = read_metaimage(path), read_metaimage(mask_file)
            check_pair(image, mask, mask_file, classes=2)
            volumes.append((path.stem, image, mask))
        slices = cut(volumes, size=self.size, depth=self.depth)
        checked = checked_cases(folder, slices.cases)
        classes = ("background", "prostate")
        test = judging(folder, slices.cases, self.test)
        return mask_source(*slices, classes, test=test, checked=checked)

    def grids(self) -> dict[str, Scan]:
        """Those in the headers of the masks; a place that a header does not tell is the origin."""
        folder = data_root(self.root, "promise12")
        masks = sorted(folder.glob(f"*{SUFFIX}.mhd"))
        return {mask.stem.removesuffix(SUFFIX): metaimage_grid(mask) for mask in masks}


def _check_pairs(images: list[Path], masks: list[Path]) -> None:
    without = {p.stem for p in images} ^ {p.stem.removesuffix(SUFFIX) for p in masks}
    if without:
        name = min(without)
        lacks = "mask" if name in {p.stem for p in images} else "image"
        raise FileNotFoundError(
            f"{images[0].parent / name}.mhd has no {lacks}: every case needs {name}.mhd and "
            f"{name}{SUFFIX}.mhd. Complete the pair or remove it."
        )
