"""What the words of ``l2b audit`` mean."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from l2b.audit.active import next_to_check, write_next
from l2b.audit.apply import accept_suggestions, apply_decisions
from l2b.audit.own import audit_own, image_column
from l2b.audit.run import Audit, audit_run
from l2b.audit.subject import read_subject
from l2b.datasets.table import Table
from l2b.datasets.tags import Tags
from l2b.decisions import read_decisions
from l2b.folder import AUDIT, RunFolder
from l2b.provenance import typed
from l2b.tables import TableFile

SUGGESTIONS = "suggestions"  # in the place of a file of decisions


def audit(options: argparse.Namespace, settings: Sequence[str], *, progress: bool) -> str:
    """Do what was asked for, and say what came out.

    Args:
        options: parsed by the command line.
        settings: words of ``l2b run`` for a training.
        progress: show a progress bar.

    Raises:
        ValueError: if words contradict each other, or files do not fit.
    """
    masks = options.run is not None and options.csv is None and RunFolder(options.run).is_on_masks
    _check(options, settings, masks=masks)
    if masks:
        return _masks(options)
    if options.apply is not None:
        run = Path(str(options.run))
        if str(options.apply) == SUGGESTIONS:
            return str(accept_suggestions(run, options.out))
        return str(apply_decisions(run, options.apply, options.out))
    found = _audited(options, settings, progress=progress)
    if options.next is None:
        return str(found)
    path = write_next(found.folder, found.table, next_to_check(found.table, options.next))
    run = str(found.folder.parent)
    again = typed(["audit", run, "--clean", str(path), "--out", "NEW"])
    if found.subject.own is None:  # whose checked labels only a file can tell
        again = typed(["audit", run, "--apply", str(path)])
    return f"{found}\n  Fill in the column label of {path}, then: {again}"


def _masks(options: argparse.Namespace) -> str:
    """An audit of masks, or a data folder with the corrected ones, and what came out."""
    from l2b.audit.mask_apply import apply_masks  # slow to load, for matplotlib
    from l2b.audit.masks import SUGGESTED, audit_masks

    run, suggested = options.run, options.run / AUDIT / SUGGESTED
    again = typed(["audit", str(run), "--apply", str(suggested), "--out", "NEW"])
    if options.next is not None:
        raise ValueError(
            f"--next is of labels, and {run} is a run on masks: look at the most suspicious ones "
            f"in its audit, edit them in {suggested}, and take them back in: {again}"
        )
    if options.apply is None:
        if options.clean:
            raise ValueError(
                "--clean names masks that are right as they are, beside the corrected ones: add "
                f"these: {again}"
            )
        return str(audit_masks(run))
    if options.out is None:
        raise ValueError(f"--apply makes a data folder of the corrected masks: name it: {again}")
    return str(apply_masks(run, options.apply, options.out, list(map(Path, options.clean))))


def _audited(options: argparse.Namespace, settings: Sequence[str], *, progress: bool) -> Audit:
    if options.csv is None and not options.clean:
        return audit_run(options.run)
    table = _checked_further(options) if options.csv is None else _table(options)
    usual = options.run or Path("runs") / f"audit-{Path(table.path).stem}"
    return audit_own(
        table,
        options.out or usual,
        settings=settings,
        overwrite=options.overwrite,
        resume=options.resume,
        progress=progress,
    )


def _table(options: argparse.Namespace) -> Table | Tags:
    """The user's table, with absolute paths, so that its run can be read from anywhere."""
    image = options.image
    if options.images is not None and not image:
        image = image_column(options.csv, options.images)
    columns = TableFile(options.csv).columns
    column, files = _clean(options.clean, columns)
    labels = _named(options.label, columns)
    common = {
        "path": str(options.csv.resolve()),
        "text": options.text,
        "image": image,
        "folder": str(options.images.resolve()) if options.images is not None else "",
        "clean": column,
        "checked": files,
        "id": options.id,
        "size": options.size or Table.size,
        "ignore": _named(options.ignore, columns),
    }
    if len(labels) == 1:
        _refuse_blank(options)
        return Table(**common, label=labels[0])
    return Tags(**common, tags=labels, blank=options.blank or "unknown")


def _refuse_blank(options: argparse.Namespace) -> None:
    if options.blank:
        raise ValueError(
            "--blank is of several labels a sample (--label with commas); rows without their one "
            "label are left out."
        )


def _named(words: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Columns that are named one by one, or several with commas in between."""
    parts = [[word] if word in columns else word.strip("[]").split(",") for word in words]
    return tuple(name.strip() for part in parts for name in part)


def _checked_further(options: argparse.Namespace) -> Table | Tags:
    """The table of a former run, with more labels checked."""
    subject = read_subject(options.run)
    if subject.on_own_table and subject.own is None:
        raise FileNotFoundError(subject.problem)
    if subject.own is None:
        raise ValueError(
            f"--clean takes checked labels back into an audit of your own file (--csv), and "
            f"{options.run} is a run on other data."
        )
    column, files = _clean(options.clean, TableFile(Path(subject.own.path)).columns)
    own = subject.own
    return replace(own, clean=column or own.clean, checked=(*own.checked, *files))


def _clean(words: Sequence[str], columns: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The column and the files that ``--clean`` names."""
    named = [word for word in words if word in columns]
    files = [word for word in words if word not in columns]
    for word in files:
        if not Path(word).is_file():
            raise ValueError(
                f"--clean {word} is neither a column ({', '.join(columns[:20])}) nor a file."
            )
        if not read_decisions(Path(word)):
            raise ValueError(
                f"--clean {word} decides nothing: fill in its column label, of a row at least."
            )
    if len(named) > 1:
        raise ValueError(f"--clean takes one column, got {' and '.join(named)}.")
    return "".join(named), tuple(str(Path(word).resolve()) for word in files)


def _check(options: argparse.Namespace, settings: Sequence[str], *, masks: bool) -> None:
    if (options.run is None) == (options.csv is None):
        raise ValueError(
            "l2b audit needs the folder of a run or --csv FILE, one of the two: see "
            "`l2b audit --help`."
        )
    if options.csv is not None and not options.label:
        raise ValueError(f"--label is required with --csv: which column of {options.csv} is it?")
    if options.size and options.images is None and not options.image:
        raise ValueError("--size is of images: give their folder with --images.")
    if options.csv is not None and options.apply is not None:
        raise ValueError("--apply needs the folder of the audited run, not --csv.")
    if options.apply is not None:
        others = (
            ("next", "overwrite", "resume") if masks else ("next", "clean", "overwrite", "resume")
        )
        given = [n for n in others if getattr(options, n)]
        if given:
            what = "masks" if masks else "labels"
            raise ValueError(f"--apply writes {what}, nothing else: leave --{given[0]} away.")
    trains = options.csv is not None or (options.clean and not masks)
    if not trains and options.apply is None and not (masks and options.clean):
        given = [n for n in ("overwrite", "resume", "out") if getattr(options, n)]
        if given:
            raise ValueError(
                f"Nothing is trained here, so --{given[0]} has no meaning: the audit goes into "
                f"the folder of {options.run}."
            )
    if settings and not trains:
        raise ValueError(f"Nothing is trained here, so {settings[0]!r} has no meaning.")
    if options.csv is None:
        words = ("label", "blank", "text", "images", "image", "id", "size", "ignore")
        given = [n for n in words if getattr(options, n)]
        if given:
            raise ValueError(f"--{given[0]} describes a file: give it with --csv.")
