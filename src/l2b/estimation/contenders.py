"""Who takes part in the comparison of "auto"."""

from l2b.estimation.comparison import WITHOUT
from l2b.estimation.task import Given
from l2b.methods import Method
from l2b.methods.base import NoisyOnly
from l2b.methods.clean_only import CleanOnly
from l2b.methods.elr import Elr
from l2b.methods.fine_tune import FineTune
from l2b.methods.gold_correction import GoldCorrection
from l2b.methods.gold_posterior import GoldPosterior
from l2b.methods.l2b import L2B
from l2b.methods.l2b_tags import L2BTags
from l2b.methods.mixup import Mixup
from l2b.methods.pooled import Pooled
from l2b.targets import VOID


def candidates() -> dict[str, Method]:
    """What "auto" chooses from, in the order in which they are tried while there is time.

    Behind what does without the noisy labels, the order is that of their mean accuracy on
    development data (docs/evidence.md).
    """
    return {
        WITHOUT: CleanOnly(),
        "l2b": L2B(),
        "fine_tune": FineTune(),
        "gold_posterior": GoldPosterior(),
        "gold_correction": GoldCorrection(),
        "elr": Elr(),
        "mixup": Mixup(),
        "pooled": Pooled(),
    }


def suited(methods: dict[str, Method], given: Given) -> dict[str, Method]:
    """The same, but for several labels a sample the form of L2B that is for these."""
    if not given.tags:
        return methods
    forms = {"l2b": ("l2b_tags", L2BTags())}
    return dict(forms.get(name, (name, method)) for name, method in methods.items())


def learns_all(method: Method, given: Given) -> bool:
    """Whether it learns every label, where single answers were checked: some of them one kind only.

    A label without a checked answer is unknown to who does without the noisy ones, and a label of
    which all were checked to who learns from these alone; held-out answers cannot tell.
    """
    if not given.tags:
        return True
    kinds = {CleanOnly: given.y_clean, NoisyOnly: given.y}
    alone = [labels for kind, labels in kinds.items() if isinstance(method, kind)]
    return all(bool((labels != VOID).any(dim=0).all()) for labels in alone)
