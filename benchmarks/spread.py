"""Mean and spread over seeds, as tables show them."""

from collections.abc import Sequence

from l2b.stats import mean_sd


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation with one decimal; a dash if there are no values."""
    if not values:
        return "–"
    mean, sd = mean_sd(values)
    return f"{mean:.1f} ± {sd or 0.0:.1f}"
