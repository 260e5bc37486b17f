"""How far each method is from the best of every setting, as a picture.

python benchmarks/gaps.py [--balanced] [--out FILE.png]

From benchmarks/results/evidence.json, auto.json, auto_isic.json and, for what these lack,
auto_300.json: test accuracy at the last epoch, mean over the seeds that the automatic choice has,
minus that of the best of the seventeen methods. With --balanced, from evidence_balanced.json and
auto_balanced.json: balanced accuracy where classes count alike.
"""

import argparse
from pathlib import Path
from statistics import mean

import matplotlib as mpl
import numpy as np
from auto import CHOICES, by_setting, of_choices, others
from evidence import METHODS, OURS
from matplotlib.figure import Figure
from provenance import RESULTS

from l2b.report import COLOURS, STYLE, save

AUTO = {"auto": "accuracy", "auto, distil=True": "student"}


def gaps(*, balanced: bool) -> dict[str, list[float]]:
    """By method, points above the best of each setting that the automatic choice was run on."""
    kind = "_balanced" if balanced else ""
    rows = of_choices(*((RESULTS / "auto_balanced.json",) if balanced else CHOICES))
    ours = {name: by_setting(rows, f"{measure}{kind}") for name, measure in AUTO.items()}
    rivals = others(f"evidence{kind}.json", f"last{kind}_accuracy")
    found: dict[str, list[float]] = {name: [] for name in (*AUTO, *METHODS)}
    for setting, seeds in ours["auto"].items():
        of = {
            name: [value for seed, value in rivals[name, setting].items() if seed in seeds]
            for name in METHODS
        }
        if not all(of.values()):
            continue
        best = max(map(mean, of.values()))
        for name, by in ours.items():
            found[name].append(mean(by[setting].values()) - best)
        for name, values in of.items():
            found[name].append(mean(values) - best)
    return found


def draw(path: Path, found: dict[str, list[float]], measured: str) -> None:
    """A row for each method, a dot for each setting, a bar at their mean."""
    names = sorted(found, key=lambda name: mean(found[name]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 0.3 * len(names) + 1.4), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color="black", linewidth=0.8)
        for place, name in enumerate(names):
            colour = COLOURS[OURS] if name in (*AUTO, OURS) else "0.45"
            axes.plot(found[name], np.full(len(found[name]), place), "o", color=colour, alpha=0.55)
            axes.plot(mean(found[name]), place, "|", color=colour, ms=16, mew=2.5)
        axes.set_xscale("symlog", linthresh=5, linscale=1.5)
        ticks = [-40, -20, -10, -5, -4, -3, -2, -1, 0, 1, 2, 3]
        axes.set_xticks(ticks, [f"{tick:+d}" if tick else "best" for tick in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel(f"{measured}, in points from the best of seventeen single methods")
        axes.set_title(f"How far from the best in {len(found[OURS])} settings (dots; bars: mean)")
        save(figure, path)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--balanced", action="store_true", help="where classes count alike")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kind, measured = ("-balanced", "balanced") if options.balanced else ("", "test")
    picture = RESULTS.parent.parent / "docs" / "figures" / f"evidence-gaps{kind}.png"
    found = gaps(balanced=options.balanced)
    draw(options.out or picture, found, f"{measured} accuracy")


if __name__ == "__main__":
    main()
