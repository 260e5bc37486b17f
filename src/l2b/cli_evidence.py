"""The commands that produce evidence: grid, figure, table, report."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MASKS, PRESET = "masks", "quick"
WORKERS = "processes (default: one per core, or one where there is a GPU)"
Progress = Callable[[argparse.Namespace], bool]


def add_commands(commands: Any, progress: Progress, words: Sequence[str]) -> list[Any]:
    """Add the four commands to the command line.

    Args:
        commands: argparse's sub-parsers.
        progress: whether to show bars, given the options.
        words: all words of the command line, to be recorded.

    Returns:
        The parsers.
    """
    made = []
    for kind in ("figure", "table"):
        parser = commands.add_parser(
            kind,
            usage=f"l2b {kind} NAME [--preset quick|cpu|paper] [settings of l2b run]",
            help=f"make a {kind} of the paper, with everything behind it",
            description=FIGURE_HELP.replace("KIND", kind),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        parser.add_argument("name", nargs="?", metavar="NAME")
        parser.add_argument("-h", "--help", action="store_true", help="add a NAME for its settings")
        parser.add_argument("--preset", default=PRESET, help="quick (the default), cpu or paper")
        parser.add_argument("--seeds", type=int, help="how many (default: the preset's)")
        _shared(parser)
        parser.set_defaults(command=_figure, kind=kind, parser=parser)
        made.append(parser)

    grid = commands.add_parser(
        "grid",
        usage="l2b grid FILE [--out DIR] [--workers N]",
        help="run every combination of data, noise, method and seed",
        description=GRID_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    grid.add_argument("file", type=Path, metavar="FILE", help="the grid, as YAML")
    grid.add_argument("--threads", type=int, default=1, help="CPU threads of each run")
    _shared(grid)
    grid.set_defaults(command=_grid)

    report = commands.add_parser(
        "report",
        usage="l2b report FOLDER... [--out FILE]",
        help="one page about runs: tables, curves, weights, commands, versions",
        description="Write one HTML page about all runs in these folders, which opens from disk.",
        allow_abbrev=False,
    )
    report.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    report.add_argument("--out", type=Path, help="the file (default: report.html in the folder)")
    report.set_defaults(command=_report)
    made += [grid, report]
    for parser in made:
        parser.set_defaults(
            progress=progress, words=list(words), again="; the same command goes on"
        )
    return made


def _shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for runs and results")
    parser.add_argument("--workers", type=int, help=WORKERS)


def _figure(options: argparse.Namespace, rest: list[str]) -> int:
    from l2b.make_figure import explained, listed, make

    if options.name is None:
        options.parser.print_help()
        width = max(map(len, listed(options.kind)))
        for name, line in listed(options.kind).items():
            print(f"  {name:<{width}}  {line}")
        if options.kind == "figure":
            print(f"  {MASKS:<{width}}  of a finished run on masks: l2b figure masks --help")
        return 0
    if (options.kind, options.name) == ("figure", MASKS):
        return _masks(options, rest)
    if options.help:
        print(explained(options.kind, options.name))
        return 0
    from l2b.provenance import typed

    made = make(
        options.kind,
        options.name,
        rest,
        preset=options.preset,
        seeds=options.seeds,
        out=options.out,
        workers=options.workers,
        command=typed(options.words),
        progress=options.progress(options),
    )
    print(made.text)
    return 0 if made.complete else 1


def _masks(options: argparse.Namespace, rest: list[str]) -> int:
    """The one figure that is drawn of a run, not of a grid."""
    parser = argparse.ArgumentParser(
        "l2b figure masks", description="Contours of a run's masks, and the weights it learned."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run on masks")
    parser.add_argument("--count", type=int, default=6, help="number of images")
    parser.add_argument("--out", type=Path, help="the picture (default: RUN/figures/masks.png)")
    if options.help:
        parser.print_help()
        return 0
    given = {"preset": options.preset != PRESET, "seeds": options.seeds, "workers": options.workers}
    idle = [name for name, said in given.items() if said]
    if idle:
        raise ValueError(f"--{idle[0]} has no effect here: a finished run is drawn.")
    found = parser.parse_args(rest)
    from l2b.mask_figure import masks_figure

    out = options.out or found.run / "figures" / "masks.png"
    masks_figure(found.run, out, count=found.count)
    print(f"  {out}")
    return 0


def _grid(options: argparse.Namespace, rest: list[str]) -> int:
    if rest:
        raise ValueError(f"l2b grid takes no {rest[0]!r}: settings of runs go into the file.")
    from l2b.figures.base import said
    from l2b.grid import execute, read_grid
    from l2b.grid.pictures import curve_panels, curves_picture, dots_picture
    from l2b.provenance import provenance, typed
    from l2b.scoring import WORDS

    grid = read_grid(options.file)
    out = options.out or Path("runs") / options.file.stem
    results = execute(
        grid,
        out,
        workers=options.workers,
        threads=options.threads,
        progress=options.progress(options),
    )
    paths = results.write(options.file.stem, provenance(typed(options.words)))
    if panels := curve_panels(results):
        title = f"Test {WORDS[results.judged]}"
        curves_picture(out / "curves.png", f"{title} by epoch", panels, judged=results.judged)
        dots_picture(out / "accuracy.png", title, results)
        paths = [out / "curves.png", out / "accuracy.png", *paths]
    print(said(results, paths))
    return 0 if not results.failures and not results.missing else 1


def _report(options: argparse.Namespace, rest: list[str]) -> int:
    if rest:
        raise ValueError(f"l2b report takes no {rest[0]!r}: see --help.")
    from l2b.overview import write_overview

    print(write_overview(options.folders, options.out))
    return 0


FIGURE_HELP = """Make a KIND of the paper: the runs behind it, a results table with paired tests
(Markdown, JSON and, with pyarrow, Parquet), and the picture.

What is done is never done again: the same command goes on after an interruption. The preset is
a budget: quick takes minutes on two cores, cpu about an hour, paper is for a GPU, on CIFAR, ISIC
and Clothing1M the published schedule. Any setting of `l2b run` may follow, such as
--data fashion_mnist --epochs 30. Exit status 1 if a run failed.
"""

GRID_HELP = """Run every combination that a file names, in several processes; make one table.

  base: {clean: 50, training: {epochs: 20}}     # settings of l2b run
  seeds: 5                                      # or a list
  noise:
    - {name: symmetric, rate: 0.4}
    - {name: pair_flip, rate: 0.4, label: pairs}
  method: [cross_entropy, l2rw, l2b]

Every key but base, seeds, compare and reference is a setting of l2b run with the list of its
entries. What is done is never done again, an interrupted run is resumed, and a failed one stops
nothing and is tried again the next time: give the same command again. Exit status 1 if a run
failed.
"""
