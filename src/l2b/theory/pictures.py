"""The figures of docs/theory.md, drawn from the numbers in `theory.json`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from l2b.files import write_atomically

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#D55E00", "#009E73", "#CC3311", "#777777"
Numbers = dict[str, Any]


def draw(numbers: dict[str, Numbers], out: Path) -> None:
    """Draw every figure whose claim was computed.

    Args:
        numbers: what each claim measured, by the claim's name.
        out: folder for `theory-*.png`, which exists.
    """
    figures: dict[str, tuple[str, Callable[[Numbers], Figure]]] = {
        "equivalence": ("equivalence", equivalence),
        "gradients": ("gradients", gradients),
        "counterexample": ("convergence", counterexample),
        "descent": ("convergence", descent),
        "gaps": ("gaps", gaps),
    }
    for name, (claim, picture) in figures.items():
        if claim in numbers:
            drawn = picture(numbers[claim])
            write_atomically(out / f"theory-{name}.png", drawn.savefig)


def equivalence(numbers: Numbers) -> Figure:
    """Both objectives against α + β, and how fast they part."""
    found = numbers["departure"]
    figure, (left, right) = _panels(
        "Two weights or one mixed target? The same thing, exactly when α + β = 1 (Eqs. 11–14)", 2
    )
    left.plot(found["sums"], found["two_weights"], color=BLUE, lw=2, label="two weights: α f + β g")
    left.axhline(
        found["mixed"], color=ORANGE, lw=2, label="cross-entropy to the mix (1 − β) y + β ŷ"
    )
    left.plot(1, found["mixed"], "o", color="black", ms=8, label="equal where α + β = 1")
    left.legend(loc="upper left", fontsize=9)
    left.set(
        xlabel="α + β  (β fixed at 0.4)",
        ylabel="mean loss (nats)",
        title="Loss of one batch: 16 samples, 5 classes",
    )
    _parting(right, found, "loss", BLUE)
    _parting(right, found, "gradient", GREEN)
    right.axhline(2.2e-16, color=GREY, ls=":", lw=1)
    right.text(1, 3e-16, "rounding of float64", color=GREY, ha="right")
    right.set(
        xlabel="|α + β − 1|",
        ylabel="relative difference of the two objectives",
        ylim=(3e-18, 100),
        title="They part in proportion to |α + β − 1|",
    )
    right.legend(loc="upper left", fontsize=8)
    return figure


def _parting(axes: Axes, found: Numbers, what: str, color: str) -> None:
    excess, law = found["excess"], found[f"{what}_law"]
    measured = _positive(found[f"{what}_gap"])
    axes.loglog(excess, measured, "o", color=color, ms=4, label=f"{what}, measured")
    predicted = f"{what}, predicted: |α + β − 1| times that of f alone"
    axes.loglog(excess, [law * e for e in excess], color=color, lw=1, label=predicted)


def gradients(numbers: Numbers) -> Figure:
    """Error of central differences and of the finite-difference engine, by step length."""
    figure, (left, right) = _panels(
        "Every engine finds the meta-gradient that Eqs. 15–24 define", 2
    )
    for axes, found, steps in (
        (left, numbers["definition"], "steps"),
        (right, numbers["lengths"], "lengths"),
    ):
        axes.loglog(found[steps], found["float64"], "o-", color=BLUE, ms=4, label="float64")
        axes.loglog(found[steps], found["float32"], "s-", color=ORANGE, ms=4, label="float32")
        axes.set(ylim=(1e-14, 1e3), ylabel="relative error of the scores")
        axes.legend(loc="upper left", fontsize=8, ncols=2)
    left.set(
        xlabel="step h by which one weight α or β is moved",
        title="Central differences of the definition\nagainst the exact forward engine",
    )
    _slope(left, 2, (1e-3, 1e-1), 1e-9, "slope 2: error ∝ h²")
    right.set(
        xlabel="length ε‖v‖ of the engine's step in parameter space",
        title="The finite-difference engine against the\ndefinition (dashed: the exact engines)",
    )
    _slope(right, 1, (1e-4, 1e-2), 1e-6, "slope 1: error ∝ ε")
    _exact_lines(right, numbers["engines"])
    for x, color in ((1e-6, BLUE), (1e-2, ORANGE)):
        right.axvline(x, color=color, ls=":", lw=1)
        right.text(x, 2e-14, " default ε‖v‖", color=color, fontsize=8)
    return figure


def _exact_lines(axes: Axes, engines: Numbers) -> None:
    exact = {name: error for name, error in engines.items() if name != "finite_difference"}
    for precision, color in (("float64", BLUE), ("float32", ORANGE)):
        worst = max(error[precision] for error in exact.values())
        axes.axhline(worst, color=color, ls="--", lw=1)
        label = f"{len(exact)} exact engines: {worst:.0e}"
        axes.text(35, worst * 0.5, label, color=color, fontsize=8, va="top", ha="right")


def counterexample(numbers: Numbers) -> Figure:
    """Copies of one sample break the published bound; runs at either bound."""
    figure, (left, right) = _panels(
        "The published step-size bound is too large; the corrected one holds", 2
    )
    _copies(left, numbers["examples"]["curves"])
    runs = numbers["published_run"]
    right.semilogy(runs["published"], color=RED, lw=2, label="at 0.9 × the published bound")
    right.semilogy(runs["corrected"], color=BLUE, lw=2, label="at 0.9 × the corrected bound")
    right.legend(loc="upper right", title="ηλ²M")
    right.set(
        xlabel="step",
        ylabel="clean loss G (nats, log scale)",
        ylim=(0.5 * min(runs["corrected"]), 8 * max(runs["published"])),
        title=f"Logistic regression, n = {numbers['n']};\nan adversary picks every other batch",
    )
    return figure


def _copies(axes: Axes, curves: Numbers) -> None:
    for n, color in (("1", GREEN), ("4", BLUE), ("16", RED)):
        change = [1e3 * value for value in curves[n]]
        axes.plot(curves["scaled"], change, color=color, lw=2, label=f"n = {n}")
        axes.plot(1 / int(n), 0, "o", color=color, ms=7)
    axes.axhline(0, color="black", lw=0.8)
    axes.axvspan(0, 2, color=GREY, alpha=0.12, lw=0)
    depth = -1e3 * min(curves["1"])
    axes.set(
        xlim=(0, 2.02),
        ylim=(-2 * depth, 8 * depth),
        xlabel="step size, as ηλ²M · Lσ²  (shaded: safe, says the published proof)",
        ylabel="change of the clean loss G (10⁻³ nats)",
        title="One step on n copies of one sample, ŷ = y\n(dots: the corrected bound, 1/n)",
    )
    axes.text(1.97, -0.5 * depth, "G falls", ha="right", va="center", fontsize=9)
    axes.text(1.97, 0.5 * depth, "G rises", ha="right", va="center", fontsize=9)
    axes.legend(title="batch size", loc="upper center", bbox_to_anchor=(0.6, 1.0))


def descent(numbers: Numbers) -> Figure:
    """Share of batches that raise G against the step size, one panel a problem."""
    problems, n = numbers["problems"], numbers["n"]
    figure, panels = _panels(
        f"Which step sizes keep the clean loss from rising? Raw weights, batches of n = {n}",
        len(problems),
    )
    for axes, (name, found) in zip(panels, problems.items(), strict=True):
        _shares(axes, found, n)
        axes.set_title(f"{name}\n(L = {found['L']:.3g}, σ = {found['sigma']:.3g})", fontsize=10)
    panels[0].set_ylabel("batches that raise the clean loss (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=3)
    figure.set_layout_engine("constrained", rect=(0, 0.07, 1, 0.93))
    return figure


def _shares(axes: Axes, found: Numbers, n: int) -> None:
    ratios = found["ratios"]
    for share, color, line, label in (
        ("worst", "black", ":", "worst batch found (share of starting points)"),
        ("copies", RED, "-", "n copies of one sample, ŷ = y"),
        ("random", BLUE, "-", "random batches"),
    ):
        shares = [100 * value for value in found[share]]
        axes.semilogx(ratios, shares, lw=2, color=color, ls=line, label=label)
    axes.axvspan(ratios[0], 1, color=GREEN, alpha=0.12, lw=0)
    for bound, color, label in ((1, GREEN, "corrected bound"), (2 * n, ORANGE, "published bound")):
        axes.axvline(bound, color=color, lw=1.5)
        axes.text(0.93 * bound, 97, label, rotation=90, ha="right", va="top", color=color)
    axes.set(xlim=(ratios[0], ratios[-1]), xlabel="ηλ²M over the corrected bound")


def gaps(numbers: Numbers) -> Figure:
    """Share of steps that raise G for each departure from the theorem, by step size."""
    sizes, rows = numbers["sizes"], numbers["variants"]
    figure = Figure(figsize=(9, 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    table = [[100 * share for share in found["share"]] for found in rows.values()]
    axes.imshow(table, cmap="Reds", vmin=0, vmax=70, aspect="auto")
    for i, found in enumerate(rows.values()):
        for j, (share, end) in enumerate(zip(table[i], found["end"], strict=True)):
            color = "white" if share > 40 else "black"
            axes.text(j, i, f"{share:.{0 < share < 1:d}f} %", ha="center", va="bottom", color=color)
            worse = "↑" if end > found["start"] else "↓"
            said = f"G {worse} {end:.3g}" if end < 1e4 else f"G {worse} {end:.0e}"
            axes.text(j, i, said, ha="center", va="top", color=color, fontsize=8)
    axes.set_xticks(range(len(sizes)), [f"{size:g} ×" for size in sizes])
    axes.set_yticks(range(len(rows)), [found["says"] for found in rows.values()])
    axes.set_xlabel("first step, as a multiple of the corrected bound on ηλ²M (same for all rows)")
    figure.suptitle(
        "Theory and practice: share of steps that raise the clean loss G, and G after the last\n"
        f"(digits, 40 % wrong labels, tanh network, mean of {numbers['seeds']} runs of "
        f"{numbers['steps']} steps; G starts at {rows['theorem']['start']:.2g} nats)",
        fontsize=10,
    )
    return figure


def _panels(title: str, count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(10.5, 4.3), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    panels = figure.subplots(1, count, sharey=count > 2)
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.title.set_fontsize(10)
    return figure, list(panels)


def _slope(axes: Axes, power: int, ends: tuple[float, float], start: float, label: str) -> None:
    rise = (ends[1] / ends[0]) ** power
    axes.loglog(ends, (start, start * rise), color="black", lw=1)
    axes.text(ends[1] * 1.3, start * rise, label, fontsize=8, va="center")


def _positive(values: list[float]) -> list[float]:
    return [value if value > 0 else float("nan") for value in values]
