"""To cleanlab and from it: probabilities and qualities in the form its functions accept."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2b.audit.table import AuditTable
from l2b.quality import class_votes


class ForCleanlab(NamedTuple):
    """What cleanlab's functions take.

    Attributes:
        labels: observed labels, class indices, [N].
        pred_probs: probability of each class, rows sum to 1, [N, classes].
    """

    labels: np.ndarray
    pred_probs: np.ndarray


def for_cleanlab(ledger: dict[str, Tensor]) -> ForCleanlab:
    """Labels and probabilities of a run, such as ``cleanlab.filter.find_label_issues`` takes.

    Every epoch judged a sample before it was trained on in that epoch. The probabilities
    are the means of these judgements: exp(−loss) for the observed label, the rest shared
    out by the votes of the epochs for other classes. They are no cross-validated
    probabilities: earlier epochs have seen the label, though with the weight that
    bootstrapping gave it.

    Args:
        ledger: what a run's ``ledger.safetensors`` holds, ``classes`` among it.
    """
    observed, pseudo = ledger["observed"].long(), ledger["pseudo"].long()
    size = len(ledger["classes"])
    seen = pseudo >= 0
    own = torch.exp(-ledger["loss"].double()).where(seen, torch.nan).nanmean(dim=0)
    own = own.nan_to_num(1 / size)
    votes = class_votes(pseudo, seen, size).double() + 1 / size  # no class is impossible
    votes.scatter_(1, observed.unsqueeze(1), 0.0)
    rest = votes / votes.sum(dim=1, keepdim=True) * (1 - own).unsqueeze(1)
    probabilities = rest.scatter(1, observed.unsqueeze(1), own.unsqueeze(1))
    return ForCleanlab(observed.numpy(), probabilities.numpy())


def issues_for_cleanlab(table: AuditTable) -> dict[str, np.ndarray]:
    """The columns that ``cleanlab.classification.CleanLearning.get_label_issues`` returns.

    ``pandas.DataFrame(issues_for_cleanlab(table))`` can be handed to
    ``CleanLearning.fit(…, label_issues=…)``.
    """
    return {
        "is_label_issue": table.suspect,
        "label_quality": table.quality,
        "given_label": table.observed,
        "predicted_label": table.suggested,
    }
