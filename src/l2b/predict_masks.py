"""The masks that the model of a finished run draws for new images, one file each."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from l2b.datasets.chase_db1 import ChaseDb1
from l2b.datasets.decathlon import SUFFIX, Decathlon
from l2b.datasets.image_folder import SUFFIXES, is_hidden
from l2b.datasets.mask_folder import MaskFolder
from l2b.datasets.promise12 import SUFFIX as SEGMENTATION
from l2b.datasets.promise12 import Promise12
from l2b.decode import decode_images
from l2b.drawn_masks import image_sizes, mask_palette
from l2b.evaluate import PIXELS_AT_ONCE
from l2b.experiment import Run, read_run
from l2b.files import write_atomically
from l2b.folder import RunFolder
from l2b.grids import Grid, Picture, nifti_grid
from l2b.metaimage import metaimage_grid, read_metaimage
from l2b.notices import notice
from l2b.slices import cut_images
from l2b.trained import TrainedModel, load_model
from l2b.volumes import Volume, read_nifti, tell_unplaced

SHOWN = 5  # files that a message names
MASKS = re.compile(r"(masks|labelsTr)(_.*)?")  # folders of a data set that hold no images
Targets: TypeAlias = dict[Path, Path]


class Drawn(NamedTuple):
    """What the model says of one image.

    Attributes:
        probabilities: of every class on the learned grid, [slices, classes, height, width].
        grid: of the file.
    """

    probabilities: Tensor
    grid: Grid


class Kind(NamedTuple):
    """Files of one format.

    Attributes:
        stem: the name of such a file without its ending; None of another format's.
        ending: of the masks.
        what: the format, for messages.
        draw: what the model draws for such a file; raises ValueError if it is damaged.
    """

    stem: Callable[[str], str | None]
    ending: str
    what: str
    draw: Callable[[Path], Drawn]


@dataclass(frozen=True, kw_only=True)
class PredictedMasks:
    """What was drawn.

    Attributes:
        path: the folder of the masks.
        masks: number of them.
        shares: of the pixels (voxels) of all, by class.
        empty: masks that show nothing but background.
        before: masks that were there already, and were not drawn again.
    """

    path: Path
    masks: int
    shares: dict[str, float]
    empty: int
    before: int = 0

    def __str__(self) -> str:
        """A summary for a person."""
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        lines = [f"{self.masks:,} masks: {shares} of the pixels"] if self.masks else []
        lines += [f"{self.before:,} masks were there already"] if self.before else []
        lines += [f"  {self.empty:,} of them show nothing"] if self.empty else []
        return "\n".join([*lines, f"  everything is in {self.path}"])


def predict_masks(
    run: Path | str,
    source: Path | str,
    out: Path | str | None,
    *,
    epoch: Literal["last", "chosen"] = "last",
    resume: bool = False,
    progress: bool = True,
) -> PredictedMasks:
    """Draw masks for new images with the model of a finished run, on the images' own grids.

    Pictures give PNG of their size, in the values of the masks that the run learned from, and with
    their palette, if they have one and are still there; volumes give NIfTI of their shape and
    place. Volumes are cut and standardised as in training.

    Args:
        run: its folder.
        source: a folder of images, with its subfolders, but those at its top that hold the masks of
            a data set (``masks``, ``labelsTr`` and further annotations); or one image.
        out: the folder for the masks, which are called like the images; there is no usual one.
        epoch: as for `load_model`.
        resume: leave out images whose masks are there, instead of refusing them.
        progress: show a progress bar.

    Raises:
        FileExistsError: if a file is there that would be written; nothing is written then.
        NotADirectoryError: if ``out`` is a file.
        FileNotFoundError: if there is no such run or source.
        ValueError: if the source holds no images, or other than the run learned from; or, after
            the masks of the others were written, naming images that are damaged.
    """
    if out is None:
        raise ValueError(
            f"{run} is a run on masks: name a folder for those of {source} with --out."
        )
    folder, source, out = Path(run), Path(source), Path(out)
    model = load_model(folder, epoch)
    data = (read_run(folder) or Run()).data
    kind = _kind(model, data, folder)
    every = _files(source, out, kind, resume=resume)
    files = {path: target for path, target in every.items() if not target.exists()}
    values = _values(RunFolder(folder).read_scale(), data) if kind.ending == Picture.ending else ()
    counts, empty, failed = np.zeros(len(model.classes), dtype=np.int64), 0, dict[Path, str]()
    for path, target in track(
        files.items(), "predict", transient=True, disable=not progress, show_speed=False
    ):
        try:
            probabilities, grid = kind.draw(path)
        except (ValueError, FileNotFoundError) as error:  # of a header, the voxels may be missing
            failed[path] = str(error)
            continue
        mask = grid.drawn(probabilities)
        found = np.bincount(mask.ravel(), minlength=len(counts))
        counts, empty = counts + found, empty + (found[0] == mask.size)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, _writer(grid, mask, values))
    if failed:
        raise ValueError(_told(failed, len(files), out))
    shares = zip(model.classes, (counts / max(1, counts.sum())).tolist(), strict=True)
    return PredictedMasks(
        path=out,
        masks=len(files),
        shares=dict(shares),
        empty=int(empty),
        before=len(every) - len(files),
    )


def _writer(grid: Grid, mask: np.ndarray, values: Sequence[int]) -> Callable[[Path], object]:
    return lambda temporary: grid.write(temporary, mask, values)


def _kind(model: TrainedModel, data: Any, run: Path) -> Kind:
    """Which files the run learned from."""
    if isinstance(data, MaskFolder | ChaseDb1):
        palette = _palette(data, RunFolder(run).read_scale().get("values") or ())
        return Kind(_picture_stem, Picture.ending, f"images ({', '.join(SUFFIXES)})",
                    lambda path: _draw_picture(model, path, palette))  # fmt: skip
    if isinstance(data, Decathlon):
        return Kind(
            lambda name: SUFFIX.sub("", name) if SUFFIX.search(name) else None,
            ".nii.gz",
            "volumes (.nii, .nii.gz)",
            lambda path: _draw_volume(
                model, data, path, read_nifti(path),
                nifti_grid(path, axis=data.axis, resampled=data.size is not None),
            ),
        )  # fmt: skip
    if isinstance(data, Promise12):
        return Kind(
            _metaimage_stem,
            ".nii.gz",
            "volumes (.mhd)",
            lambda path: _draw_volume(
                model, data, path, read_metaimage(path), metaimage_grid(path)
            ),
        )
    raise ValueError(
        f"{run} learned from {type(data).__name__}, of which nothing tells how files are read: "
        "take l2b.load_model."
    )


def _metaimage_stem(name: str) -> str | None:
    scan = name.endswith(".mhd") and not name.endswith(f"{SEGMENTATION}.mhd")
    return name.removesuffix(".mhd") if scan else None


def _picture_stem(name: str) -> str | None:
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else None


def _draw_picture(model: TrainedModel, path: Path, palette: bytes) -> Drawn:
    pixels = decode_images([path], model.shape[-1], name=path, resize=True)
    grid = Picture(size=image_sizes([path])[0], palette=palette)
    return Drawn(model.predict_proba(pixels), grid)


def _palette(data: MaskFolder | ChaseDb1, values: Sequence[int]) -> bytes:
    """The colours of the masks that the run learned from, if these are there to look."""
    if not isinstance(data, MaskFolder):  # whose masks are black and white
        return b""
    try:
        return mask_palette([mask for _, mask in data.files().values()], values)
    except (OSError, ValueError):
        return b""


def _draw_volume(
    model: TrainedModel, data: Decathlon | Promise12, path: Path, volume: Volume, grid: Grid
) -> Drawn:
    """Cut and standardise a volume as in training, and draw its slices or slabs."""
    if not volume.placed:
        tell_unplaced(str(path.parent))
    axis = data.axis if isinstance(data, Decathlon) else 2
    images, cases = cut_images([(path.name, volume)], axis=axis, size=data.size, depth=data.depth)
    # Padded as far as those that were learned; U-Nets take larger ones, too.
    own, room = images.shape[-2:], model.shape[-2:]
    more = [max(0, most - size) // 2 for size, most in zip(own, room, strict=True)]
    margins = (more[1], more[1], more[0], more[0])
    if any(margins):
        images = functional.pad(images, margins, value=float(images.min()))
    rows = max(1, PIXELS_AT_ONCE // math.prod(images.shape[2:]))
    with torch.no_grad():
        blocks = [torch.softmax(model(block), dim=1) for block in images.split(rows)]
    return Drawn(cases.real(torch.cat(blocks)), grid)


def _files(source: Path, out: Path, kind: Kind, *, resume: bool) -> Targets:
    """Where the mask of each image goes, if nothing is in its place or that is meant."""
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file: name a folder for the masks.")
    if not source.exists():
        raise FileNotFoundError(f"There is no {source}: name a folder of {kind.what}.")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"--out {out} lies in {source}, whose masks would be taken for images the next time: "
            "name another folder."
        )
    top = source if source.is_dir() else source.parent
    every = sorted(source.rglob("*")) if source.is_dir() else [source]
    owners: Targets = {}
    left_out: set[str] = set()
    for path in every:
        place = path.relative_to(top)
        stem = kind.stem(path.name)
        if stem is None or is_hidden(place) or not path.is_file():
            continue
        if len(place.parts) > 1 and MASKS.fullmatch(place.parts[0]):
            left_out.add(place.parts[0])
            continue
        target = out / place.parent / f"{stem}{kind.ending}"
        if target in owners:
            raise ValueError(f"{owners[target]} and {path} would both give {target}: rename one.")
        owners[target] = path
    if left_out:
        notice(
            f"{', '.join(sorted(left_out))} in {source} are left out, for their names are those of "
            "folders of masks."
        )
    if not owners:
        raise ValueError(f"{source} must hold {kind.what}, as the run learned from, got none.")
    there = next((target for target in owners if target.exists()), None)
    if there is not None and not resume:
        raise FileExistsError(
            f"{there} is there and would be lost: choose another --out, or draw what is lacking "
            "with --resume."
        )
    return {path: target for target, path in owners.items()}


def _values(scale: dict[str, Any], data: object) -> Sequence[int]:
    """What stands for each class in pictures."""
    if scale.get("values"):
        return scale["values"]
    if isinstance(data, MaskFolder):  # an older run, which recorded none
        try:
            return data.values()
        except (OSError, ValueError):
            pass
    steps = len(scale["classes"]) - 1
    values = [round(255 * k / steps) for k in range(steps + 1)]
    notice(
        "The run does not record what stands for each class in its masks, and they are not there "
        f"to look: here it is {', '.join(map(str, values))}."
    )
    return values


def _told(failed: dict[Path, str], files: int, out: Path) -> str:
    """What is wrong with images, the first in full."""
    first, *others = failed
    said = failed[first] if str(first) in failed[first] else f"{first}: {failed[first]}"
    more = f" Not drawn either: {', '.join(map(str, others[: SHOWN - 1]))}" if others else ""
    more += f" and {len(failed) - SHOWN} more." if len(failed) > SHOWN else "." if others else ""
    drawn = files - len(failed)
    rest = f" The masks of the other {drawn} are in {out}." if drawn else ""
    again = " Mend or remove these, and go on with --resume."
    return f"{len(failed)} of {files} images have no mask. {said}{more}{rest}{again}"
