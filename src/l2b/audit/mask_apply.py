"""Masks that a person corrected, or found to be right → a data folder to learn from again."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from l2b.audit.mask_export import unedited
from l2b.audit.masks import CORRECTABLE, SUGGESTED
from l2b.catalog import name_of
from l2b.clean_split import clean_bounds, most_clean
from l2b.datasets import Source
from l2b.datasets.base_masks import CLEAN, TEST, listed_cases, without_ending
from l2b.datasets.decathlon import SUFFIX, Decathlon, annotation_of, annotations
from l2b.datasets.mask_folder import FURTHER, MaskFolder
from l2b.drawn_masks import image_sizes, read_masks, told_values
from l2b.experiment import Run, read_run
from l2b.files import PARTIAL, read_text, write_json, write_text
from l2b.folder import AUDIT, free_name
from l2b.mask_figure import data_of
from l2b.noise.none import NoNoise
from l2b.notices import no_notices, notice
from l2b.provenance import started_elsewhere, typed
from l2b.volumes import check_pair, read_nifti

NOTHING_KNOWN = (
    "{path} says of no pixel what is there, so it corrects nothing: move it away, or label some."
)
Files: TypeAlias = dict[str, tuple[Path, Path]]  # image and mask of each case, by its name


@dataclass(frozen=True, kw_only=True)
class AppliedMasks:
    """What was written.

    Attributes:
        path: the data folder.
        replaced: number of masks that a person corrected.
        checked: number of masks that are known to be right, these among them.
        masks: number of all.
        command: what to type to learn from them; empty where too few are left unchecked to weigh.
    """

    path: Path
    replaced: int
    checked: int
    masks: int
    command: str

    def __str__(self) -> str:
        """One line for a terminal."""
        done = (
            f"{self.replaced:,} masks replaced, {self.checked:,} of {self.masks:,} are now "
            f"checked: {self.path}."
        )
        if self.command:
            return f"{done} Learn from them: {self.command}"
        return (
            f"{done} Too few are left unchecked for a batch of them: remove {self.path / CLEAN}, "
            "so that all masks count as right, and train plainly (--method cross_entropy)."
        )


def apply_masks(run: Path, folder: Path, out: Path, right: Sequence[Path] = ()) -> AppliedMasks:
    """Write the data of an audited run with corrected masks in it, whole or not at all.

    In a folder that an audit wrote only files that somebody edited count; in any other, all that
    are called like a case. They take the place of the masks as given, and with those that were
    checked before they stand in ``clean.txt``. What the run was tested on stands in ``test.txt``,
    so that runs before and after are judged by the same. The data of the run stay as they are.

    Args:
        run: folder of a run on a `MaskFolder` or a `Decathlon`.
        folder: the corrected masks, on the grids of the images.
        out: the folder to make; it may be there if it is empty.
        right: text files that name cases whose masks are right as given, one a line.

    Raises:
        FileExistsError: if there is anything in the place of ``out``.
        FileNotFoundError: if the run, its data, the folder or a list are missing.
        ValueError: naming the file, if a mask does not fit its image or holds unknown values; or
            if nothing was corrected, the run is on other data or on noise, its data changed, or
            no patient is wholly checked.
    """
    made = read_run(run) or Run()
    data, files = _subject(run, made, out)
    for path in right:
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path} with names of masks that are right.")
    with no_notices():  # the run said them
        learned = data_of(run, made)
    corrected = _corrected(folder, run / AUDIT / SUGGESTED, files)
    confirmed = {name: path for path in right for name in listed_cases(path, files)}
    _refuse_decisions(corrected, confirmed, folder)
    if isinstance(data, MaskFolder):
        _check_pictures(data, files, corrected, learned.values)
    else:
        _check_volumes(files, corrected, len(learned.classes), data.void())
    before = _root(data) / CLEAN
    checked = {*corrected, *confirmed, *(listed_cases(before, files) if before.is_file() else ())}
    with _whole(out) as stage:
        copies = (_copy_pictures if isinstance(data, MaskFolder) else _copy_volumes)(
            _root(data), files, corrected, stage
        )
        _write_names(stage / CLEAN, [name for name in files if name in checked])
        if learned.test is not None and learned.test.cases is not None:
            judged = learned.test.cases
            _write_names(stage / TEST, [judged.names[k] for k in judged.of.unique().tolist()])
        source = _loaded(replace(data, root=stage), copies)
        most = _patients(source, learned.classes, out)
    return AppliedMasks(
        path=out,
        replaced=len(corrected),
        checked=len(checked),
        masks=len(files),
        command=_next_run(run, made, source, out, most),
    )


def _next_run(run: Path, made: Run, source: Source, out: Path, most: int) -> str:
    """What to type to learn from the new folder; empty where too few are left to weigh.

    Args:
        run: folder of the former run.
        made: its settings.
        source: what the new folder holds.
        out: the new folder.
        most: patients that can be trusted.
    """
    every = torch.ones(len(source.train.labels), dtype=torch.bool)
    patients = min(most, most_clean(source, every, made.training.batch))
    if patients < 1:
        return ""
    _tell_hindrance(replace(made, clean=patients), source, out)
    words = ["--config", str(run / "run.yaml"), "--data.root", str(out)]
    return typed(["run", *words, "--clean", str(patients), "--out", str(_free(run))])


def _write_names(path: Path, names: Sequence[str]) -> None:
    write_text(path, "".join(f"{name}\n" for name in names))


def _free(run: Path) -> Path:
    """A folder for the next run that is not there yet, beside the run."""
    beside = run.parent if run.name else run / ".."
    wanted = beside / f"{run.resolve().name}-corrected"
    return free_name(wanted, first=2) if wanted.exists() else wanted


def _subject(run: Path, made: Run, out: Path) -> tuple[Decathlon | MaskFolder, Files]:
    """The data of a run, and their files, if corrected ones can be written to ``out``."""
    data = made.data
    if not isinstance(data, CORRECTABLE):
        raise ValueError(
            f"{run} learned from {type(data).__name__}, whose layout has no place for corrected "
            "masks: they go into runs on a mask_folder or a decathlon folder."
        )
    if not isinstance(made.noise, NoNoise):
        raise ValueError(
            f"{run} learned from masks that noise had changed ({name_of(made.noise)}), while those "
            f"of {_root(data)} count as the truth, so nothing is to be corrected there: audit a "
            "run with --noise none on masks that are as you got them."
        )
    root = _root(data)
    if out.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"--out {out} lies in the data of the run, {root}: name another folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is there and not empty: choose another --out.")
    with started_elsewhere(data, run):
        return data, data.files()


def _refuse_decisions(corrected: dict[str, Path], confirmed: dict[str, Path], folder: Path) -> None:
    """Refuse decisions that contradict each other, and none at all."""
    for name in corrected.keys() & confirmed.keys():
        raise ValueError(
            f"{confirmed[name]} calls the mask of {name!r} right as it is, and {corrected[name]} "
            "corrects it: keep one of the two."
        )
    if not corrected and not confirmed:
        raise ValueError(
            f"Nothing in {folder} was edited since the audit wrote it, or is called like a case: "
            "correct masks there, or name those that are right as they are with --clean FILE."
        )


def _tell_hindrance(run: Run, source: Source, out: Path) -> None:
    """Say what keeps a run from learning already, such as a class that nobody checked."""
    try:
        with no_notices():
            run.prepare_from(source)
    except ValueError as error:
        notice(f"A run on {out} would stop for now: {error}")


def _root(data: Decathlon | MaskFolder) -> Path:
    return data.folder() if isinstance(data, Decathlon) else Path(data.root)


def _corrected(folder: Path, own: Path, files: Files) -> dict[str, Path]:
    """The file of each case that a person corrected.

    Args:
        folder: where they are.
        own: where the audit wrote its suggestions.
        files: of the data.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {folder}: name the one with the corrected masks, such as {own}, "
            "of which only what was edited counts."
        )
    if folder.resolve() == own.resolve() and not own.with_suffix(".json").is_file():
        raise FileNotFoundError(
            f"There is no {own.with_suffix('.json')}, which tells what was edited in {own}: copy "
            "the corrected masks into another folder, and name that."
        )
    left, found, strange = unedited(folder), dict[str, Path](), []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name[0] == "." or path.name in left:
            continue
        name = without_ending(path.name)
        if name == path.name or name not in files:
            strange.append(path)
        elif name in found:
            raise ValueError(f"{found[name]} and {path} are masks of one case: remove one.")
        else:
            found[name] = path
    if strange:
        notice(
            f"{len(strange)} files are called like no case, such as {strange[0]}, and are left out."
        )
    return found


def _check_pictures(
    data: MaskFolder, files: Files, corrected: dict[str, Path], values: Sequence[int]
) -> None:
    """Refuse masks that do not fit, all together, for a palette must mean the same everywhere."""
    masks = [corrected.get(name, mask) for name, (_, mask) in files.items()]
    read = read_masks(masks, image_sizes([image for image, _ in files.values()]), data.size)
    for name, mask in zip(files, read, strict=True):
        wrong = sorted(mask.shares.keys() - {*values, data.ignore})
        if name in corrected and wrong:
            raise ValueError(
                f"{corrected[name]} must hold the values of the masks as given, "
                f"{told_values(values, data.ignore)}, got {wrong[0]}: draw it without smoothing."
            )
        if name in corrected and mask.shares.keys() == {data.ignore}:
            raise ValueError(NOTHING_KNOWN.format(path=corrected[name]))


def _check_volumes(
    files: Files, corrected: dict[str, Path], classes: int, void: tuple[int, ...]
) -> None:
    for name, path in corrected.items():
        image, mask = read_nifti(files[name][0]), read_nifti(path)
        check_pair(image, mask, path, classes=classes, void=void)
        if np.isin(mask.voxels, void).all():
            raise ValueError(NOTHING_KNOWN.format(path=path))


def _copy_pictures(
    root: Path, files: Files, corrected: dict[str, Path], stage: Path
) -> dict[Path, Path]:
    """Write the new folder; returned is where each image and mask in it comes from."""
    for kind in ("images", "masks"):
        (stage / kind).mkdir()
    copies = {}
    for name, (image, mask) in files.items():
        source = corrected.get(name, mask)
        copies[stage / "images" / image.name] = image
        copies[stage / "masks" / f"{mask.stem}{source.suffix}"] = source
    _copy(copies)
    for folder in sorted(root.glob(f"{FURTHER}*")):
        if folder.is_dir():
            shutil.copytree(folder, stage / folder.name)
    return copies


def _copy_volumes(
    root: Path, files: Files, corrected: dict[str, Path], stage: Path
) -> dict[Path, Path]:
    """The same of a task; scans without masks, which nobody learns from, are left out."""
    for kind in ("imagesTr", "labelsTr"):
        (stage / kind).mkdir()
    entries, copies = [], {}
    for name, (image, mask) in files.items():
        entry = {}
        for kind, path in (("image", image), ("label", corrected.get(name, mask))):
            ending = SUFFIX.search(path.name)
            entry[kind] = f"./{kind}sTr/{name}{ending.group() if ending else ''}"
            copies[stage / entry[kind]] = path
        entries.append(entry)
    for folder in annotations(root):
        (stage / folder.name).mkdir()
        for name, (_, mask) in files.items():
            source = annotation_of(folder, mask.relative_to(root))
            ending = SUFFIX.search(source.name)
            copies[stage / folder.name / f"{name}{ending.group() if ending else ''}"] = source
    _copy(copies)
    listed = json.loads(read_text(root / "dataset.json"))
    without = {key: value for key, value in listed.items() if key not in ("test", "numTest")}
    write_json(stage / "dataset.json", without | {"numTraining": len(entries), "training": entries})
    return copies


def _copy(copies: dict[Path, Path]) -> None:
    for made, path in copies.items():
        shutil.copyfile(path, made)


def _loaded(data: Decathlon | MaskFolder, copies: dict[Path, Path]) -> Source:
    """What was written, read as a run will read it; errors name what a file was copied from."""
    with no_notices():  # the run says them
        try:
            return data.load()
        except ValueError as error:
            said = str(error)
            for made, path in copies.items():
                said = said.replace(str(made), str(path))
            raise ValueError(said) from error


def _patients(source: Source, classes: Sequence[str], out: Path) -> int:
    """How many patients can be trusted.

    Raises:
        ValueError: if there are none, or other classes than the run's.
    """
    if tuple(classes) != source.classes:
        raise ValueError(
            f"The masks in {out} would hold the classes {', '.join(source.classes)}, and the run "
            f"learned {', '.join(classes)}: keep a mask that shows each of them."
        )
    least, most = clean_bounds(source)
    if most < least:
        raise ValueError(
            "Of masks whole patients are trusted, and of none all images would be checked: correct "
            "the other images of some patient, or name those that are right with --clean FILE."
        )
    return most


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder to write into, which takes its place once everything is in it, or goes away."""
    target = out.resolve()
    stage = target.with_name(f".{target.name}{PARTIAL}")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
        if target.is_dir():
            target.rmdir()
        stage.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
