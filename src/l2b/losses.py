"""Per-sample losses, never reduced over samples or pixels."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from l2b.targets import VOID, probabilities
from l2b.types import Weights

NO_LABEL = -(2**31)  # torch ignores −100 unless told another; samples without pixels count


def logits(output: object) -> Tensor:
    """The logits in a model's output: the tensor itself, or its ``logits`` entry.

    Raises:
        TypeError: if the output holds no logits.
    """
    if isinstance(output, Mapping):
        output = output.get("logits", output)
    found = getattr(output, "logits", output)
    if not isinstance(found, Tensor):
        raise TypeError(
            "The model must return logits as a tensor [n, classes, ...] or an output with "
            f"a `logits` entry, got {type(output).__name__}: wrap it in a module that does."
        )
    return found


def cross_entropy(z: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every sample (and pixel) towards its target.

    Args:
        z: logits, [n, classes, *pixels].
        target: class indices [n, *pixels], or probabilities shaped like ``z``. Of pixels −1 is
            void, no sample is ignored: the −100 of torch is out of range like any other, on
            every device.

    Returns:
        Loss in nats, [n, *pixels]; 0 for void pixels.
    """
    if target.is_floating_point():
        return -(target * functional.log_softmax(z, dim=1)).sum(dim=1)
    void = VOID if target.ndim > 1 else NO_LABEL
    return functional.cross_entropy(z, target, ignore_index=void, reduction="none")


def bootstrapped_loss(output: object, observed: Tensor, weights: Weights) -> Tensor:
    """The two-weight objective Σ_i α_i f_i + β_i g_i (L2B, Eq. 3).

    Args:
        output: logits of the training batch, [n, classes, *pixels], or an output that holds them
            as ``logits``, as `l2b.weigh` takes it from the model.
        observed: labels as given, class indices [n, *pixels] or probabilities.
        weights: what `l2b.weigh` returned for this batch.

    Returns:
        Scalar loss in nats. It is a sum, not a mean: normalised weights already sum to 1.

    Raises:
        TypeError: if the output holds no logits.
    """
    z = logits(output)
    towards_observed = cross_entropy(z, observed)
    towards_pseudo = cross_entropy(z, weights.pseudo)
    return (weights.alpha * towards_observed + weights.beta * towards_pseudo).sum()


def weighed_targets(classes: int, observed: Tensor, weights: Weights) -> Tensor:
    """Both labels of every sample in one target of mass α + β, α_i y_i + β_i ŷ_i.

    Eq. 3 is the sum of the cross-entropies towards these.

    Args:
        classes: number of classes.
        observed: labels as given, class indices [n, *pixels] or probabilities.
        weights: what `l2b.weigh` returned for this batch.

    Returns:
        Not negative where the weights are not, [n, classes, *pixels].
    """
    towards_observed = weights.alpha.unsqueeze(1) * probabilities(observed, classes)
    return towards_observed + weights.beta.unsqueeze(1) * probabilities(weights.pseudo, classes)


def mixed_target_loss(z: Tensor, observed: Tensor, pseudo: Tensor, beta: Tensor) -> Tensor:
    """Bootstrapping with one mixed target per sample (Eq. 2).

    Args:
        z: logits, [n, classes, *pixels].
        observed: labels as given, as probabilities shaped like ``z``.
        pseudo: labels the model predicts, as probabilities shaped like ``z``.
        beta: share of the pseudo-label, [n, *pixels], in [0, 1].

    Returns:
        Loss in nats, [n, *pixels].
    """
    share = beta.unsqueeze(1)
    return cross_entropy(z, (1 - share) * observed + share * pseudo)
