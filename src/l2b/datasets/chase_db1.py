"""CHASE_DB1 (Fraz et al. 2012): vessels of the retina, drawn by two observers."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, data_root
from l2b.datasets.base_masks import mask_source
from l2b.decode import decode_images
from l2b.drawn_masks import class_masks, image_sizes, picture_spacing, read_masks
from l2b.grids import Picture
from l2b.types import Cases

OBSERVERS = ("_1stHO.png", "_2ndHO.png")
SECOND = "second_observer"
VALUES = (0, 255)  # of the official masks
NAME = re.compile(r"Image_(\d+)[LR]")


@dataclass(frozen=True, kw_only=True)
class ChaseDb1(Dataset):
    """CHASE_DB1: 28 images of both eyes of 14 children, vessels drawn by two observers.

    The first observer's masks count as the truth; the second's are the annotation
    ``second_observer``. Both eyes of a child stay on one side of every split, and the last
    children are held out (four of them are the usual last 8 images). Pixels are scaled by the
    training images' moments per channel.

    Attributes:
        root: folder of the files; by default $L2B_DATA/chase_db1, else ./data/chase_db1.
        size: height and width to which the images, 999 × 960 pixels, are brought.
        held_out: number of children, the last ones, kept for testing.
        workers: threads that decode images; changes no result.
    """

    root: Path | str | None = None
    size: int = 256
    held_out: int = 4
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse images without pixels and an empty test set."""
        if self.size < 1 or self.held_out < 1:
            raise ValueError(
                f"ChaseDb1 needs size >= 1 and held_out >= 1, got {self.size} and {self.held_out}."
            )

    def load(self) -> Source:
        """Decode every image and both of its masks."""
        folder = data_root(self.root, "chase_db1")
        images = _images(folder)
        if not images:
            raise FileNotFoundError(
                f"There are no images Image_01L.jpg, … in {folder.absolute()}. Fetch CHASE_DB1 "
                "from https://blogs.kingston.ac.uk/retinal/chasedb1 and put its files there, or "
                "point to its folder with --root."
            )
        sizes, masks = image_sizes(images), []
        for suffix in OBSERVERS:
            paths = [path.with_name(path.stem + suffix) for path in images]
            missing = [path for path in paths if not path.is_file()]
            if missing:
                raise FileNotFoundError(
                    f"There is no {missing[0]}: every image comes with the masks of two observers."
                )
            masks.append(class_masks(read_masks(paths, sizes, self.size), VALUES))
        cases = _cases(images, picture_spacing(sizes, self.size))
        children = cases.patient.unique()
        if self.held_out >= len(children):
            raise ValueError(
                f"ChaseDb1 needs held_out below the number of children, {len(children)}, got "
                f"{self.held_out}: nobody would be left to train on."
            )
        return mask_source(
            decode_images(images, self.size, name=folder, resize=True, workers=self.workers),
            masks[0],
            cases,
            ("background", "vessel"),
            test=children[-self.held_out :],
            annotations={SECOND: masks[1]},
            values=VALUES,
            remark=f"images and masks were resampled from 999 × 960 to {self.size} pixels",
        )

    def grids(self) -> dict[str, Picture]:
        """Pictures of the sizes of the images."""
        images = _images(data_root(self.root, "chase_db1"))
        sizes = image_sizes(images)
        return {image.stem: Picture(size=size) for image, size in zip(images, sizes, strict=True)}


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("Image_*.jpg") if NAME.fullmatch(p.stem))


def _cases(images: list[Path], spacing: Tensor) -> Cases:
    numbers = torch.arange(len(images))
    children = [int(match.group(1)) for p in images if (match := NAME.fullmatch(p.stem))]
    known = sorted(set(children))
    return Cases(
        of=numbers,
        names=tuple(path.stem for path in images),
        spacing=spacing,
        patient=torch.tensor([known.index(child) for child in children]),
    )
