"""The step-size adviser: how far a step size is from the one that provably never hurts.

The theorem (L2B, Eqs. 25–41, corrected in docs/theory.md) is about raw weights, unclamped or
clamped at 0. It promises that the clean loss G never rises, whatever the batch, while

    λ² ≤ 1/(n·η·σ²·L)        weights from the mean clean loss, as in this library;
    λ² ≤ 1/(n·η·σ²·M·L)      weights from the sum over M clean samples, as in the paper.

The sum makes every weight M times larger, hence the M. The published proof has 2 in place of
1/n, which is wrong by the factor 2n. L and σ belong to every point that training visits;
here they are measured where the model stands, so advice has to be taken again as it moves.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from l2b.functional import Functional, functional
from l2b.theory.spectrum import Extreme, evaluation_mode, gradient_norms, mean_gradient, smoothness
from l2b.weighing import check_labels

Pair = tuple[Tensor, Tensor]
"""Inputs [N, …] and labels, class indices [N] or probabilities [N, classes]."""


@dataclass(frozen=True, kw_only=True)
class StepAdvice:
    """Step sizes that the theorem allows, at the point where the model stands.

    Attributes:
        smoothness: L, largest absolute eigenvalue of the Hessian of the mean clean loss.
        residual: how far that estimate may be from an eigenvalue, in the same unit.
        gradient_bound: σ, largest gradient norm of any sample's loss towards its observed
            or its pseudo-label.
        batch: n, samples a training batch.
        clean_samples: M.
        eta: η, step size of the weights.
        corrected: largest λ with the guarantee, weights from the mean clean loss.
        published: what the published proof would allow instead; not safe.
        corrected_for_sum: as ``corrected``, weights from the summed clean loss.
        published_for_sum: as ``published``, weights from the summed clean loss.
        normalised: with Eq. 9, the largest λ at which the very next step cannot raise G, for
            a batch of typical scores; it shrinks to 0 as ∇G does, so no fixed λ is safe.
        step: the λ that was asked about, or None.
    """

    smoothness: float
    residual: float
    gradient_bound: float
    batch: int
    clean_samples: int
    eta: float
    corrected: float
    published: float
    corrected_for_sum: float
    published_for_sum: float
    normalised: float
    step: float | None

    @property
    def times_guarantee(self) -> float | None:
        """``step`` over the largest λ with the guarantee; None without a step."""
        if self.step is None:
            return None
        return 0.0 if math.isinf(self.corrected) else self.step / self.corrected

    def __str__(self) -> str:
        """The advice in a few lines."""
        lines = [
            f"L = {self.smoothness:.4g} (mean clean loss of M = {self.clean_samples} samples), "
            f"sigma = {self.gradient_bound:.4g}, n = {self.batch}, eta = {self.eta:g}",
            f"raw weights: the clean loss cannot rise for lambda <= {self.corrected:.4g} "
            f"(published bound, not safe: {self.published:.4g})",
            f"raw weights from the summed clean loss: lambda <= {self.corrected_for_sum:.4g} "
            f"(published: {self.published_for_sum:.4g})",
            f"normalised weights (Eq. 9), next step only: lambda <= {self.normalised:.4g}",
        ]
        if self.times_guarantee is not None:
            lines.append(self._about_the_step())
        lines.append("L and sigma are measured here; measure again as the model moves.")
        return "\n".join(lines)

    def _about_the_step(self) -> str:
        times = self.times_guarantee or 0.0
        within = f"within the guarantee ({times:.2g} of it)"
        beyond = f"{times:.3g} times the guarantee: the clean loss may rise"
        raw = within if times <= 1 else beyond
        ratio = self.step / self.normalised if self.step and self.normalised else 0.0
        normalised = (
            f"within the bound for the next step ({ratio:.2g} of it), no later one"
            if self.step and self.step <= self.normalised
            else f"{ratio:.3g} times the bound for the next step: the clean loss may rise"
            if self.normalised
            else "beyond any bound: the clean loss may rise"
        )
        return (
            f"lambda = {self.step:g}, raw weights: {raw}\n"
            f"lambda = {self.step:g}, normalised weights, as l2b has: {normalised}"
        )


def advise_step_size(
    model: nn.Module,
    data: Pair,
    clean: Pair,
    *,
    step: float | None = None,
    batch: int | None = None,
    pseudo: Tensor | None = None,
    eta: float = 1.0,
    chunk: int = 64,
    iterations: int = 64,
    seed: int = 0,
) -> StepAdvice:
    """Measure L and σ, and say which step sizes keep the clean loss from rising.

    The model is measured in evaluation mode (no dropout, running statistics), because the
    gradient of a single sample means nothing under batch statistics; its mode, gradients
    and statistics are left as they were.

    Args:
        model: any module that returns logits [n, classes].
        data: noisy inputs and observed labels.
        clean: trusted inputs and labels, all of them: the theorem uses the whole clean set.
        step: a λ to judge.
        batch: n, samples a training batch; all of ``data`` if None.
        pseudo: pseudo-labels of ``data``; the model's own predictions if None.
        eta: η. Weights from `l2b.weigh` with an optimiser have η = 1; without one they lack
            the factor λ, which is η = 1/λ, so that the guarantee is λ ≤ 1/(n·σ²·L).
        chunk: samples differentiated at a time; bounds the memory.
        iterations: most Lanczos steps; each keeps one vector as large as the model.
        seed: of the first Lanczos vector.

    Returns:
        The constants and the bounds.

    Raises:
        ValueError: on empty or non-finite data, non-finite losses, labels that do not fit,
            a model without trainable parameters, or arguments that are not positive.
    """
    _check_positive(step=step, batch=batch, eta=eta, chunk=chunk, iterations=iterations)
    _check_pair(data, "data")
    _check_pair(clean, "clean")
    found, sigma, scores = _measured(model, data, clean, pseudo, chunk, iterations, seed)
    n = len(data[0]) if batch is None else batch
    room = _inverse(eta * sigma**2 * found.largest)
    clean_samples = len(clean[0])
    return StepAdvice(
        smoothness=found.largest,
        residual=found.residual,
        gradient_bound=sigma,
        batch=n,
        clean_samples=clean_samples,
        eta=eta,
        corrected=math.sqrt(room / n),
        published=math.sqrt(2 * room),
        corrected_for_sum=math.sqrt(room / (n * clean_samples)),
        published_for_sum=math.sqrt(2 * room / clean_samples),
        normalised=_normalised_step(scores, sigma**2 * found.largest),
        step=step,
    )


def _measured(
    model: nn.Module,
    data: Pair,
    clean: Pair,
    pseudo: Tensor | None,
    chunk: int,
    iterations: int,
    seed: int,
) -> tuple[Extreme, float, Tensor]:
    """L, σ, and the scores of both candidates of every sample."""
    with evaluation_mode(model):
        net = functional(model)
        candidates = _candidates(net, data, clean, pseudo, chunk)
        direction = mean_gradient(net, clean, chunk)
        found = smoothness(net, clean, direction, chunk=chunk, iterations=iterations, seed=seed)
        rows = [gradient_norms(net, (data[0], y), direction, chunk) for y in candidates]
    sigma = float(torch.cat([norms for norms, _ in rows]).max())
    _check_finite(sigma, found.largest)
    return found, sigma, torch.stack([scores for _, scores in rows])


def _candidates(
    net: Functional, data: Pair, clean: Pair, pseudo: Tensor | None, chunk: int
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        z, clean_z = (
            torch.cat([net.apply(net.params, x) for x in inputs.split(chunk)])
            for inputs in (data[0], clean[0])
        )
    if z.dim() != 2:
        raise ValueError(
            f"advise_step_size needs logits [n, classes], got {tuple(z.shape)}: with weights "
            "per pixel the theorem's n counts pixels, and each would need its own gradient."
        )
    guess = z.argmax(dim=1) if pseudo is None else pseudo
    check_labels(clean_z, clean[1], "clean labels")
    check_labels(z, data[1], "data labels")
    check_labels(z, guess, "pseudo")
    return data[1], guess


def _normalised_step(scores: Tensor, curvature: float) -> float:
    # Eq. 9 divides by the sum of positive scores, n times their mean over samples; the n
    # cancels against the theorem's.
    positive = float(scores.clamp_min(0).sum()) / scores.shape[1]
    return positive * _inverse(curvature) if positive > 0 else 0.0


def _inverse(value: float) -> float:
    return 1 / value if value > 0 else math.inf


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(
                f"advise_step_size needs {name} > 0 and finite, got {value}: the bounds are "
                "about positive sizes only."
            )


def _check_pair(pair: Pair, name: str) -> None:
    inputs, labels = pair
    if len(inputs) == 0 or len(inputs) != len(labels):
        raise ValueError(
            f"`{name}` must be (inputs, labels) of one length, at least 1, got {len(inputs)} "
            f"inputs and {len(labels)} labels: every estimate is taken over its samples."
        )
    for tensor in pair:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"`{name}` must be finite, got NaN or infinity in "
                f"{int((~torch.isfinite(tensor)).sum())} entries: no bound would follow. Clean "
                "or drop those samples."
            )


def _check_finite(sigma: float, curvature: float) -> None:
    if not (math.isfinite(sigma) and math.isfinite(curvature)):
        raise ValueError(
            f"Expected finite gradients and curvature, got sigma = {sigma} and L = {curvature}: "
            "the model's parameters or losses are not finite. Look for NaN in its weights, or "
            "advise in float32 rather than half precision."
        )
