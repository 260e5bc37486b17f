"""What a finished run shows on the terminal."""

from pathlib import Path
from typing import Any

from l2b.scoring import WORDS

MOST_TAGS = 10  # of several labels a sample
# What is shown beside the figure that a run is judged by.
BESIDE = {
    "accuracy": ("balanced over classes", "balanced_accuracy"),
    "balanced_accuracy": ("balanced over classes; plain accuracy", "accuracy"),
    "auroc": ("AUROC; accuracy", "accuracy"),
}


def print_record(record: dict[str, Any], out: Path) -> None:
    """Print a finished run's figures.

    Args:
        record: of the run, as `result.json` has it.
        out: its folder.
    """
    noise, kind = record["noise_rate"], "pixels" if "noise_dice" in record else "labels"
    print(f"{record['method']} on {record['data']}: seed {record['seed']}, ", end="")
    print("noise unknown" if noise is None else f"{noise:.1%} of the {kind} wrong")
    measure = record["judged_by"]
    if record.get("noise_dice") is not None:
        print(f"  masks fit the true ones with a Dice of {record['noise_dice']:.1%}")
    if record["remark"]:
        print(f"  {record['remark']}")
    if record["plain_throughout"]:
        print(
            "  no weights were learned: the warm-up, which is plain training, took all epochs. "
            "Train longer, or set --warmup to fewer epochs"
        )
    if record[f"last_{measure}"] is None:
        _print_without_test(record)
        print(f"  {record['seconds']:.1f} s; everything is in {out}")
        return
    for key in ("last", "chosen", "best"):
        value = record[f"{key}_{measure}"]
        aside = key == "chosen" and not record["validation_samples"]
        why = "  (no clean sample was kept aside to choose by)" if aside else ""
        shown = f"–{why}" if value is None else f"{value:.2%}"
        if value is not None and measure in BESIDE:
            said, other = BESIDE[measure]
            shown += f"  ({said} {record[f'{key}_{other}']:.2%})"
        print(f"  {key + ' epoch':<14}{shown}")
    if record.get("last_hausdorff_95") is not None:
        left_out = record["hausdorff_left_out"]
        but = f"; {left_out} left out, where one mask lacks the class" if left_out else ""
        print(f"  {'Hausdorff 95':<14}{record['last_hausdorff_95']:.2f} (mean, last epoch{but})")
    _print_tags(record.get("tags", {}))
    print(f"  {record['seconds']:.1f} s; everything is in {out}")


def _print_tags(tags: dict[str, dict[str, float]]) -> None:
    """How well each of several labels is told after the last epoch; the worst ones first."""
    told = {name: scores for name, scores in tags.items() if scores}
    worst = sorted(told, key=lambda name: told[name].get("auroc", told[name]["accuracy"]))
    for name in worst[:MOST_TAGS]:
        scores = told[name]
        ranked = f", AUROC {scores['auroc']:.3f}" if "auroc" in scores else ""
        print(f"  {name}: accuracy {scores['accuracy']:.2%}{ranked}, {scores['yes']:.1%} yes")
    if len(worst) > MOST_TAGS:
        print(f"  and {len(worst) - MOST_TAGS} labels that are told better, in result.json")


def _print_without_test(record: dict[str, Any]) -> None:
    """What can be said where no test set judges: how the chosen epoch did on samples kept aside."""
    found, samples = record["chosen_validation"], record["validation_samples"]
    if found is None:
        print("  no test set, and no clean sample kept aside: nothing tells how good the model is")
        return
    measure = WORDS[record["judged_by"]]
    print(
        f"  no test set; epoch {record['chosen_epoch']} is the best on the {samples} clean samples "
        f"that were kept aside: {measure} {found:.2%}"
    )
