"""Mean and spread over seeds, as tables show them."""

from collections.abc import Mapping, Sequence

from l2b.stats import mean_sd


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation with one decimal; a dash if there are no values."""
    if not values:
        return "–"
    mean, sd = mean_sd(values)
    return f"{mean:.1f} ± {sd or 0.0:.1f}"


def gain(ours: Mapping[int, float], other: Mapping[int, float]) -> tuple[float, float | None]:
    """Mean difference over the seeds that both have, and its standard error if there are several.

    Args:
        ours: values by seed.
        other: likewise, in the same unit.
    """
    shared = [ours[seed] - other[seed] for seed in sorted(ours.keys() & other.keys())]
    mean, sd = mean_sd(shared)
    return mean, None if sd is None else sd / len(shared) ** 0.5
