"""The results of a grid as a Markdown document."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from l2b.grid.pairing import in_common, warning
from l2b.scoring import WORDS, capitalised
from l2b.stats import mean_sd

if TYPE_CHECKING:
    from l2b.grid.results import Comparison, Results

SECTIONS = {
    "last_dice": "Dice of test cases at the last epoch",
    "chosen_dice": "Dice of test cases at the epoch chosen on clean validation",
    "last_accuracy": "Test accuracy at the last epoch",
    "chosen_accuracy": "Test accuracy at the epoch chosen on clean validation",
    "last_auroc": "AUROC of test samples at the last epoch",
    "chosen_auroc": "AUROC of test samples at the chosen epoch",
    "last_balanced_accuracy": "Balanced test accuracy at the last epoch",
    "chosen_balanced_accuracy": "Balanced test accuracy at the chosen epoch",
}
VALIDATION = "chosen_validation"  # where no test set judges
PAIRS = [(f"{epoch}_accuracy", f"{epoch}_balanced_accuracy") for epoch in ("last", "chosen")]
OTHER = (
    dict(PAIRS)
    | {balanced: plain for plain, balanced in PAIRS}
    | {f"{epoch}_auroc": f"{epoch}_accuracy" for epoch in ("last", "chosen")}
)
WEIGHTS = {
    "effective_samples": "samples in effect",
    "alpha_share": "α of all weight",
    "weight_on_wrong": "α on wrong labels",
}
UNBALANCED = 0.005  # difference of the two accuracies from which both are shown
SURE = 0.05


def document(results: "Results", title: str, provenance: Mapping[str, Any]) -> str:
    """Tables of every measure, paired tests, failures, and how to repeat all of it."""
    parts = [f"# {_cell(title)}", _provenance(results, provenance)]
    parts += [f"**Warning:** {_cell(said)}" for said in [warning(results)] if said]
    parts += [section(results, measure) for measure in measures(results)] or [nothing(results)]
    parts += [_tests(results), _weights(results), _failures(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def measures(results: "Results") -> list[str]:
    """What deserves a table: what runs are judged by, and the other accuracy where it differs.

    Where runs have no test set, also how they did on the clean samples kept aside.
    """
    records = [row.record for row in results.rows]
    first = [m for m in results.headline if any(record.get(m) is not None for record in records)]
    others = {m: OTHER[m] for m in first if m in OTHER}
    pairs = (
        (record.get(m), record.get(other)) for record in records for m, other in others.items()
    )
    differ = any(abs(a - b) > UNBALANCED for a, b in pairs if a is not None and b is not None)
    alike = len({record.get("judged_by") for record in records}) == 1
    aside = any(record.get(VALIDATION) is not None and untested(record) for record in records)
    return (
        first
        + (list(others.values()) if differ else [])
        + ([VALIDATION] if alike and aside else [])
    )


def untested(record: Mapping[str, Any]) -> bool:
    """Whether no test set judged a run."""
    return all(record.get(measure) is None for measure in SECTIONS)


def section(results: "Results", measure: str) -> str:
    """One measure: a row per compared label, a column per setting, mean ± sd over seeds."""
    said = remark(results, measure)
    parts = [f"## {heading(results, measure)} (%)", said, table(results, measure)]
    return "\n\n".join(filter(None, parts))


def heading(results: "Results", measure: str) -> str:
    """What a measure is, over its table."""
    if measure != VALIDATION:
        return SECTIONS[measure]
    judged = capitalised(WORDS[results.judged])
    return f"{judged} on clean samples kept aside, at the epoch chosen by them"


def remark(results: "Results", measure: str) -> str:
    """What must be known of a measure; mostly nothing."""
    if measure != VALIDATION:
        return ""
    found = [row.record for row in results.rows if row.record.get(VALIDATION) is not None]
    counts = sorted({record.get("validation_samples", 0) for record in found})
    said = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return (
        f"Runs without a test set have no other figure. It is of the same {said} clean samples by "
        "which the epoch was chosen, so it flatters."
    )


def nothing(results: "Results") -> str:
    """Why there is no table."""
    if not results.rows:
        return "There is no table, for no run has ended."
    return (
        "There is no table: the data has no test set, and no clean sample was kept aside "
        "(`validation`), so nothing tells how good the models are."
    )


def table(results: "Results", measure: str) -> str:
    """The table of `section` alone; the best mean of each column is bold."""
    grid = results.grid
    columns = [[_found(results, {**setting, grid.compare: label}, measure)
                for label in grid.labels(grid.compare)] for setting in grid.settings]  # fmt: skip
    rows = zip(grid.labels(grid.compare), *(_bold(column) for column in columns), strict=True)
    heads = [" / ".join(setting.values()) or "%" for setting in grid.settings]
    return rendered([grid.compare, *heads], rows)


def rendered(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers.

    Cells may carry emphasis; everything else in them is escaped.
    """
    lines = ["| " + " | ".join(map(_cell, heads)) + " |"]
    lines.append("|---|" + "---:|" * (len(heads) - 1))
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def percent(values: Sequence[float]) -> str:
    """Mean ± standard deviation of fractions, in percent."""
    if not values:
        return "–"
    mean, sd = mean_sd(values)
    return f"{100 * mean:.1f}" if sd is None else f"{100 * mean:.1f} ± {100 * sd:.1f}"


def p_value(p: float | None) -> str:
    """A p-value as people write it."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _found(results: "Results", labels: Mapping[str, str], measure: str) -> list[float]:
    return list(results.values(labels, measure).values())


def _bold(column: list[list[float]]) -> list[str]:
    means = [mean_sd(values)[0] if values else -1.0 for values in column]
    best = max(means)
    marks = ["**" if mean == best and mean >= 0 else "" for mean in means]
    return [f"{mark}{percent(values)}{mark}" for mark, values in zip(marks, column, strict=True)]


def _tests(results: "Results") -> str:
    found = [test for m in measures(results) for test in results.comparisons(m) if test.found.pairs]
    if not found:
        return ""
    heads = ["measure", "setting", "against", "seeds", "difference", "wins–losses", "t-test p",
             "after Holm", "Wilcoxon p", "sign p"]  # fmt: skip
    said = (
        f"`{_cell(results.grid.against)}` minus each other {_cell(results.grid.compare)}, in "
        f"points, paired by seed{_equal(in_common(results))}. Holm's correction is over all "
        "comparisons of one measure in this document. Rank and sign tests need at least six seeds "
        "that differ: with fewer, no outcome reaches 5 %."
    )
    return f"## Paired tests\n\n{said}\n\n{rendered(heads, map(_test, found))}"


def _equal(parts: Sequence[str]) -> str:
    """What paired runs have in common, in brackets."""
    *others, last = parts or [""]
    return f" (equal {' and '.join(filter(None, (', '.join(others), last)))})" if last else ""


def _test(test: "Comparison") -> list[str]:
    found = test.found
    points = "–" if found.difference is None else f"{100 * found.difference:+.1f}"
    sure = test.adjusted is not None and test.adjusted < SURE
    return [
        test.measure.replace("_", " "),
        " / ".join(test.setting.values()) or "–",
        test.other,
        str(found.pairs),
        f"**{points}**" if sure else points,
        f"{found.wins}–{found.losses}",
        *map(p_value, (found.t, test.adjusted, found.wilcoxon, found.sign)),
    ]


def _weights(results: "Results") -> str:
    """How sparse weights were and how much of α lay on wrong labels, where anything weighs."""
    plain = _plain_throughout(results)
    if not any(row.weighing for row in results.rows):
        return f"## Weights\n\n{plain}" if plain else ""
    grid, rows = results.grid, []
    for setting in grid.settings:
        for label in grid.labels(grid.compare):
            of = [row.weights for row in results.of({**setting, grid.compare: label})]
            cells = [percent([w[k] for w in of if (k := f"mean_{key}") in w]) for key in WEIGHTS]
            rows.append([" / ".join(setting.values()) or "–", label, *cells])
    said = (
        "Mean over the epochs from the first on in which samples have weights of their own, that "
        "is, after the warm-up; over all epochs of plain training, for comparison. Samples in "
        "effect: effective sample size of a batch, as a share of it."
    )
    heads = ["setting", grid.compare, *WEIGHTS.values()]
    return "\n\n".join(filter(None, ("## Weights (%)", said, rendered(heads, rows), plain)))


def _plain_throughout(results: "Results") -> str:
    """Which runs were to learn weights and never did."""
    axis = results.grid.compare
    of = [row.labels[axis] for row in results.rows if row.record.get("plain_throughout")]
    if not of:
        return ""
    counts = ", ".join(f"{_cell(label)} ({of.count(label)})" for label in dict.fromkeys(of))
    return (
        f"Runs that learned no weights, since their warm-up, which is plain training, took all "
        f"epochs: {counts}. Train longer, or set `--warmup` to fewer epochs."
    )


def _provenance(results: "Results", provenance: Mapping[str, Any]) -> str:
    seeds = sorted({row.seed for row in results.rows})
    records = [row.record for row in results.rows]
    versions = ", ".join(f"{name} {found}" for name, found in versions_of(records).items())
    ran = f" Run on {devices_of(records)}: {versions}."
    return (
        f"`{provenance['command']}`\n\n"
        f"{len(results.rows)} runs, seeds {', '.join(map(str, seeds))}; mean ± standard deviation "
        f"over seeds.{ran if versions else ''} Written on {provenance['written']}."
    )


def devices_of(records: Sequence[Mapping[str, Any]]) -> str:
    """On what runs were made; empty if there are none."""
    return _all(record.get("device") for record in records)


def versions_of(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """With what runs were made, by name."""
    versions = [record.get("versions", {}) for record in records]
    names = dict.fromkeys(name for found in versions for name in found)
    return {name: _all(found.get(name) for found in versions) for name in names}


def _all(found: Iterable[str | None]) -> str:
    """What runs were made with, each once: those of a grid may come from several machines."""
    return " and ".join(sorted({each or "unknown" for each in found}))


def _failures(results: "Results") -> str:
    parts = []
    if results.failures:
        rows = [[name, error] for name, error in results.failures.items()]
        parts.append(f"## Runs that failed\n\n{rendered(['run', 'error'], rows)}")
    if results.missing:
        parts.append(f"{results.missing} runs have not ended; the same command goes on with them.")
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    """Text that ends no cell and is no HTML."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
