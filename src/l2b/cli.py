"""The command line: run, predict, demo, audit, theory, grid, figure, table, report, list.

Nothing heavy is imported before it is needed, so that help comes at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l2b.cli_evidence import add_commands
from l2b.cli_help import AUDIT_HELP, DEMO_HELP, RUN_HELP, THEORY_HELP

DEFAULT_OUT = Path("runs")
UNREAD = 141  # status of a process whose output nobody reads on
# Read when torch is loaded: threads that spin while they wait starve each other when
# another program takes one of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake ends in one line on standard error and status 2.

    Args:
        argv: words after the program's name; those of the process if None.

    Returns:
        The exit status: 0 done, 1 a claim failed, 2 refused, 75 saved and stopped on SIGTERM,
        130 interrupted from the keyboard, 141 nobody reads on (``l2b … | head``).
    """
    words = sys.argv[1:] if argv is None else list(argv)
    options, rest = _parser(words).parse_known_args(words)
    options.words = words
    from l2b.notices import plain_notices
    from l2b.signals import STOPPED, Stopped

    try:
        with plain_notices(sys.stderr):
            status = options.command(options, rest)
            sys.stdout.flush()  # here, where a closed pipe is no mistake
            return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return UNREAD
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        if options.debug:
            raise
        print(f"l2b: {_one_line(error)}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"l2b: {stopped}{options.again}", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print(f"l2b: interrupted{options.again}", file=sys.stderr)
        return 130


def _one_line(error: Exception) -> str:
    own = isinstance(error, OSError) and error.filename is None and error.strerror
    return " ".join((own or str(error)).split())


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="l2b",
        description="Train good models from badly labelled data.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    parser.set_defaults(again="")  # how to go on after a stop, where a command can
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser(
        "run", help="train one method on one noisy data set", add_help=False, allow_abbrev=False
    )
    run.add_argument("-h", "--help", action="store_true")
    run.add_argument("--out", type=Path)
    run.add_argument("--config", type=Path)
    run.add_argument("--resume", action="store_true")
    run.add_argument("--overwrite", action="store_true")
    run.add_argument("--launch", type=int, default=1)
    run.set_defaults(command=_run, again="; go on with --resume")

    predict = _predict_parser(commands)

    demo = commands.add_parser(
        "demo",
        help="compare methods on mislabelled digits",
        description=DEMO_HELP,
        allow_abbrev=False,
    )
    demo.add_argument(
        "--out", type=Path, default=DEFAULT_OUT / "demo",
        help="folder for results (default: %(default)s)",
    )  # fmt: skip
    demo.add_argument("--seed", type=int, default=0, help="of every random draw")
    demo.set_defaults(command=_demo)

    audit = _audit_parser(commands)

    theory = commands.add_parser(
        "theory",
        help="check the paper's claims by computation, or advise on a step size",
        description=THEORY_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    theory.add_argument("--out", type=Path, help="folder for theory.json and the figures")
    theory.add_argument("--seed", type=int, default=0, help="of every random draw")
    theory.add_argument(
        "--weights", type=Path, help="a run, or its model.safetensors, to advise on"
    )
    theory.set_defaults(command=_theory)

    listing = commands.add_parser("list", help="show what can be chosen", allow_abbrev=False)
    listing.set_defaults(command=_list)

    unpack = _unpack_parser(commands)
    evidence = add_commands(commands, _progress, words)

    for command in (run, predict, demo, audit, theory, listing, unpack, *evidence):
        command.add_argument("--quiet", action="store_true", help="no progress bars")
        command.add_argument("--debug", action="store_true", help="full traceback on errors")
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for, so that other commands start at once."""

    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **rest)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"l2b {version('l2b')}")
        parser.exit()


def _predict_parser(commands: Any) -> argparse.ArgumentParser:
    predict = commands.add_parser(
        "predict",
        help="label new samples with the model of a run",
        description="Label new samples with the model of a run, and write predictions.csv; or, of "
        "a run on masks, draw a mask for each image, on its own grid, into the folder --out.",
        allow_abbrev=False,
    )
    predict.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    predict.add_argument(
        "source", type=Path, metavar="FILE|DIR",
        help="a table with the run's columns, a folder of images or volumes, or an array (.npy)",
    )  # fmt: skip
    predict.add_argument(
        "--epoch", choices=("last", "chosen"), default="last",
        help="whose model: the last one's, or that of the epoch chosen on clean samples kept aside",
    )  # fmt: skip
    predict.add_argument(
        "--images", type=Path, metavar="DIR",
        help="where the paths of a table of images begin (default: the table's own folder)",
    )  # fmt: skip
    predict.add_argument(
        "--out", type=Path,
        help="file to write (default: RUN/predictions.csv), or the folder for masks",
    )  # fmt: skip
    predict.add_argument(
        "--resume", action="store_true", help="of masks: draw those that are not there yet"
    )
    predict.set_defaults(command=_predict)
    return predict


def _audit_parser(commands: Any) -> argparse.ArgumentParser:
    audit = commands.add_parser(
        "audit",
        usage="l2b audit [RUN | --csv FILE --label COLUMN] [options] [settings of l2b run]",
        help="find the labels that are wrong, and correct them",
        description=AUDIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    audit.add_argument("--csv", type=Path, metavar="FILE", help="your own CSV or Parquet file")
    audit.add_argument(
        "--label", action="append", default=[], metavar="COLUMN",
        help="its column of labels; with commas, several of yes or no",
    )  # fmt: skip
    audit.add_argument("--blank", choices=("unknown", "no"), help="of several: an empty cell")
    audit.add_argument("--text", default="", metavar="COLUMN", help="its column of texts")
    audit.add_argument("--images", type=Path, metavar="DIR", help="folder of its images")
    audit.add_argument("--image", default="", metavar="COLUMN", help="its column of image paths")
    audit.add_argument("--id", default="", metavar="COLUMN", help="its column of ids")
    audit.add_argument(
        "--ignore", action="append", default=[], metavar="COLUMN",
        help="a column that is not learned from, such as a row number; several go with commas",
    )  # fmt: skip
    audit.add_argument(
        "--size", type=int, metavar="PIXELS", help="of its images when they are learned (32)"
    )
    audit.add_argument(
        "--clean", action="append", default=[], metavar="COLUMN|FILE",
        help="what was checked: a column (yes/no, or the right label), or exported decisions; of "
        "masks, a list of those that are right as they are",
    )  # fmt: skip
    audit.add_argument(
        "--out", type=Path, metavar="DIR|FILE",
        help="folder for the run and its audit (default: as above); with --apply, the file of "
        "corrected labels, or the data folder with corrected masks",
    )  # fmt: skip
    audit.add_argument("--overwrite", action="store_true", help="replace the run in that folder")
    audit.add_argument("--resume", action="store_true", help="go on with the training there")
    audit.add_argument("--next", type=int, metavar="N", help="propose N labels to check next")
    audit.add_argument(
        "--apply", type=Path, metavar="FILE|suggestions|DIR",
        help="correct the labels by these decisions, or by the suggestions that are sure; masks by "
        "the files in a folder",
    )  # fmt: skip
    audit.set_defaults(command=_audit)
    return audit


def _unpack_parser(commands: Any) -> argparse.ArgumentParser:
    unpack = commands.add_parser(
        "unpack",
        help="make a folder of arrays of Parquet files that do not fit in memory",
        description="Unpack Parquet, piece by piece, for l2b run --data array_folder --root DIR.",
        allow_abbrev=False,
    )
    unpack.add_argument("source", type=Path, metavar="FILE|DIR", help="Parquet file or files")
    unpack.add_argument(
        "--features", required=True, metavar="A,B,…", help="columns of numbers, or one of lists"
    )
    unpack.add_argument("--label", required=True, metavar="COLUMN", help="column of labels")
    unpack.add_argument("--checked", default="", metavar="COLUMN", help="true where checked")
    unpack.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    unpack.set_defaults(command=_unpack)
    return unpack


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    from l2b.config import chosen_leaves, parse, settings_parser
    from l2b.experiment import Run

    if options.help:
        print(RUN_HELP)
        print(settings_parser(chosen_leaves(Run, rest)).format_help().partition("\n\n")[2])
        return 0
    if options.launch != 1:
        from l2b.launch import launch

        return launch(options.words, options.launch)
    text = "" if options.config is None else _read(options.config)
    run = parse(Run, rest, text)
    out = options.out or _usual_folder(run)
    result = run.execute(
        out, resume=options.resume, overwrite=options.overwrite, progress=_progress(options)
    )
    from l2b import collectives
    from l2b.shown import print_record

    if collectives.rank() == 0:
        print_record(result.record, out)
    collectives.stop()
    return 0


def _predict(options: argparse.Namespace, rest: list[str]) -> int:
    _refuse(rest)
    from l2b.folder import RunFolder
    from l2b.predict import predict
    from l2b.predict_masks import predict_masks

    if RunFolder(options.run).is_on_masks:
        _refuse(["--images"] if options.images is not None else [])
        options.again = "; go on with --resume"
        places, shown = (options.run, options.source, options.out), _progress(options)
        print(predict_masks(*places, epoch=options.epoch, resume=options.resume, progress=shown))
        return 0
    _refuse(["--resume"] if options.resume else [])
    found = predict(
        options.run,
        options.source,
        options.out,
        images=options.images,
        epoch=options.epoch,
        progress=_progress(options),
    )
    print(found)
    return 0


def _demo(options: argparse.Namespace, rest: list[str]) -> int:
    _refuse(rest)
    from l2b.demo import demo

    demo(options.out, seed=options.seed, progress=_progress(options))
    return 0


def _audit(options: argparse.Namespace, rest: list[str]) -> int:
    from l2b.audit.command import audit

    place = _folder_place(rest[:1] if options.csv else rest)
    options.run = None if place is None else Path(rest.pop(place))
    trains = (options.csv or options.clean) and options.apply is None
    options.again = "; go on with --resume" if trains else ""
    print(audit(options, rest, progress=_progress(options)))
    return 0


def _folder_place(words: list[str]) -> int | None:
    """Which word names a run: the first that is neither a setting nor a setting's value.

    A positional of the parser would take the value of a setting for it.
    """
    bare = [word.startswith("--") and "=" not in word for word in words]
    values = [False, *bare]
    free = (k for k, word in enumerate(words) if not (values[k] or word.startswith("-")))
    return next(free, None)


def _unpack(options: argparse.Namespace, rest: list[str]) -> int:
    _refuse(rest)
    from l2b.provenance import typed
    from l2b.unpack import Columns, unpack_parquet

    names = tuple(name.strip() for name in options.features.split(",") if name.strip())
    columns = Columns(features=names, label=options.label, checked=options.checked)
    rows = unpack_parquet(options.source, options.out, columns, progress=_progress(options))
    command = typed(["run", "--data", "array_folder", "--root", str(options.out)])
    print(f"{rows:,} rows in {options.out}: {command} …")
    return 0


def _theory(options: argparse.Namespace, rest: list[str]) -> int:
    if rest or options.weights:
        if options.out is not None:
            raise ValueError("--out has no effect where a step size is advised: leave it away.")
        from l2b.config import parse
        from l2b.experiment import Run, step_size_advice

        run = parse(Run, [*rest, f"--seed={options.seed}"])
        weights = options.weights
        if weights is not None and weights.is_dir():
            weights = weights / "model.safetensors"
        print(step_size_advice(run, weights))
        return 0
    from l2b.theory import run as check

    return 0 if check(options.out, options.seed) else 1


def _list(options: argparse.Namespace, rest: list[str]) -> int:
    del options
    _refuse(rest)
    from rich.console import Console
    from rich.table import Table

    from l2b.catalog import names, summary
    from l2b.families import families

    console = Console()
    for title, base in families().items():
        table = Table(title=title, title_justify="left", box=None, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        for name in names(base):
            table.add_row(name, summary(base, name))
        console.print(table, "")
    return 0


def _usual_folder(run: object) -> Path:
    from l2b.catalog import name_of
    from l2b.experiment import Run

    if not isinstance(run, Run):
        raise TypeError(f"Expected a Run, got {type(run).__name__}.")
    parts = (name_of(run.data), name_of(run.noise), name_of(run.method), f"seed{run.seed}")
    return DEFAULT_OUT / "-".join(parts).replace(":", ".")


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"There is no settings file {path} (--config).")
    from l2b.files import read_text

    return read_text(path)


def _refuse(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"This command takes no {rest[0]!r}: see --help.")


def _progress(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty() and "CI" not in os.environ


if __name__ == "__main__":
    sys.exit(main())
