"""The drop-in: a model, a noisy batch, a clean batch → a weight for every label."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn, optim

from l2b import collectives
from l2b.candidates import Candidates, Pair, folded
from l2b.engines import Engine, forward
from l2b.functional import Functional, functional, reverse_mode, untouched_random_state
from l2b.layout import best_layout, in_best_layout
from l2b.lookahead import Ahead, LookAhead, Paper
from l2b.losses import cross_entropy
from l2b.normalise import Normaliser, PositiveShare
from l2b.overlap import Ignored, Overlap
from l2b.pieces import mean_of_pieces, split
from l2b.pseudo import Source, hard_self
from l2b.scores import candidate_scores
from l2b.targets import VOID, silenced, where_labelled
from l2b.types import Inputs, Params, Probe, Weights

PAPER = Paper()
PAIR = Pair()
POSITIVE_SHARE = PositiveShare()
IGNORED = Ignored()
SUM_TOLERANCE = 1e-2  # of probabilities, which half precision rounds


@dataclass(frozen=True)
class AcrossProcesses:
    """A normaliser over the batches of all processes, of which each keeps its own part.

    Scores and labels are gathered, a few numbers a sample, so that any normaliser gives on
    several processes what it gives on one, in the same order of summation.

    Attributes:
        then: the normaliser.
        equal: whether all processes have equally many samples; else sizes are exchanged too.
    """

    then: Normaliser
    equal: bool = True

    def __call__(self, scores: Tensor) -> Tensor:
        """Weights of this process's samples, shaped like ``scores``."""
        return self._own(self.then(self._gathered(scores, 1)), scores)

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """The same, for a normaliser that looks at labels."""
        everyones = self._gathered(observed, 0), self._gathered(pseudo, 0)
        return self._own(self.then.of_labels(self._gathered(scores, 1), *everyones), scores)

    def _gathered(self, values: Tensor, dim: int) -> Tensor:
        return collectives.gathered(values, dim=dim, equal=self.equal)

    def _own(self, weights: Tensor, scores: Tensor) -> Tensor:
        return collectives.own_share(weights, 1, scores.shape[1], equal=self.equal)


def weigh(
    model: nn.Module,
    inputs: Inputs,
    observed: Tensor,
    clean_inputs: Inputs,
    clean_labels: Tensor,
    *,
    engine: Engine = forward,
    normalise: Normaliser = POSITIVE_SHARE,
    pseudo: Source = hard_self,
    candidates: Candidates = PAIR,
    lookahead: LookAhead = PAPER,
    overlap: Overlap = IGNORED,
    optimiser: optim.Optimizer | None = None,
    index: Tensor | None = None,
) -> Weights:
    """Learn how far to trust every observed label and every pseudo-label of a batch.

    One virtual step on weighted losses, then one step on the weights from zero, down the
    clean loss (L2B, Eqs. 15–24), then normalisation (Eq. 9). The model, its running
    statistics, its gradients and the random state are left as they were, so a training
    pass that follows draws the same dropout masks as the weights were computed for.

    Parameters that reach the logits only through parts that the model detaches or runs under
    `torch.no_grad` get no clean gradient, and so have no say in the weights. Of one that has
    another way as well, `forward` and `last_layer` follow the way under `torch.no_grad` too,
    and `finite_difference` every way; `double_backward` does not, nor do `forward` and
    `last_layer` in `weighed_pass`, as training does not.

    Where `torch.distributed` is initialised, all processes have to call it together: clean
    samples and scores of all of them count, so the weights sum to 1 over all processes. Since
    `DistributedDataParallel` averages gradients, multiply the loss by the number of processes.

    Args:
        model: any module that returns logits [n, classes, *pixels]; used in its current
            mode (train or eval).
        inputs: the training batch: a tensor, a tuple or list of them, or a dict of named ones.
        observed: labels as given, class indices [n, *pixels] (−1: a void pixel) or probabilities.
        clean_inputs: a batch of trusted samples.
        clean_labels: their labels, class indices [m, *pixels] or probabilities, likewise.
        engine: how logits are differentiated; see `l2b.engines`.
        normalise: how scores become weights; see `l2b.normalise`.
        pseudo: where pseudo-labels come from; see `l2b.pseudo`.
        candidates: which labels compete; see `l2b.candidates`.
        lookahead: where the clean gradient is taken; see `l2b.lookahead`.
        overlap: of masks, what the clean loss adds to cross-entropy; see `l2b.overlap`.
        optimiser: what will take the step, if its step sizes or momentum should count.
        index: positions of the samples in the training set, for pseudo-labels that
            remember each sample.

    Returns:
        Weights α and β, [n, *pixels], which sum to 1 together or are all 0; 0 for void pixels.

    Raises:
        ValueError: if no parameter is trainable or none has a part in the logits, labels do
            not fit the logits in shape or range, probabilities are none, a batch is empty, or
            the candidates do not go with the normaliser.
        TypeError: if class indices are not integers, the model returns no logits, or a choice
            is of the wrong kind.
        NotImplementedError: if the engine has no derivative of an operation in the model.
    """
    _check_choices(engine, normalise, pseudo)
    candidates.refuse(normalise)
    direction = look_ahead_gradient(
        model,
        clean_inputs,
        clean_labels,
        engine=engine,
        lookahead=lookahead,
        optimiser=optimiser,
        overlap=overlap,
    )
    _check_tensor(observed, "observed")
    net = functional(model, frozenset(direction))
    with untouched_random_state(observed.device):
        probe = engine(net.apply, net.params, inputs, direction)
    return weights_from(
        probe,
        inputs,
        observed,
        normalise=AcrossProcesses(normalise, equal=False),
        pseudo=pseudo,
        candidates=candidates,
        index=index,
    )


def weighed_pass(
    model: nn.Module,
    inputs: Inputs,
    observed: Tensor,
    clean_inputs: Inputs,
    clean_labels: Tensor,
    *,
    engine: Engine = forward,
    normalise: Normaliser = POSITIVE_SHARE,
    pseudo: Source = hard_self,
    candidates: Candidates = PAIR,
    lookahead: LookAhead = PAPER,
    overlap: Overlap = IGNORED,
    optimiser: optim.Optimizer | None = None,
    index: Tensor | None = None,
) -> tuple[Tensor, Weights]:
    """Weigh a batch and run its training pass in one go, which saves a pass over `weigh`.

    The weights are those of `weigh`, but for parts under `torch.no_grad` (see there). The
    training pass is the ordinary one: autograd records it, running statistics move once,
    random numbers are drawn once.

    Args:
        model: as for `weigh`.
        inputs: the training batch.
        observed: labels as given, class indices [n, *pixels] or probabilities.
        clean_inputs: a batch of trusted samples.
        clean_labels: their labels.
        engine: how logits are differentiated.
        normalise: how scores become weights.
        pseudo: where pseudo-labels come from.
        candidates: which labels compete.
        lookahead: where the clean gradient is taken.
        overlap: of masks, what the clean loss adds to cross-entropy.
        optimiser: what will take the step, if its step sizes or momentum should count.
        index: positions of the samples in the training set.

    Returns:
        Logits of the batch with their autograd history, [n, classes, *pixels], and the
        weights, for `bootstrapped_loss`.

    Raises:
        ValueError: as `weigh`.
        TypeError: as `weigh`.
        NotImplementedError: as `weigh`.
    """
    _check_choices(engine, normalise, pseudo)
    candidates.refuse(normalise)
    direction = look_ahead_gradient(
        model,
        clean_inputs,
        clean_labels,
        engine=engine,
        lookahead=lookahead,
        optimiser=optimiser,
        overlap=overlap,
    )
    _check_tensor(observed, "observed")  # before the pass, which moves running statistics
    z, dz = engine.beside(model, best_layout(model, inputs), direction)
    weights = weights_from(
        Probe(z.detach(), dz),
        inputs,
        observed,
        normalise=AcrossProcesses(normalise, equal=False),
        pseudo=pseudo,
        candidates=candidates,
        index=index,
    )
    return z, weights


def look_ahead_gradient(
    model: nn.Module,
    clean_inputs: Inputs,
    clean_labels: Tensor,
    *,
    engine: Engine,
    lookahead: LookAhead,
    optimiser: optim.Optimizer | None,
    overlap: Overlap = IGNORED,
    pieces: int = 1,
) -> Params:
    """The direction along which an engine has to differentiate; changes nothing.

    With several processes it is that of all their clean samples together.

    Args:
        model: any module that returns logits.
        clean_inputs: a batch of trusted samples.
        clean_labels: their labels.
        engine: names the parameters that the direction may move.
        lookahead: where the clean gradient is taken.
        optimiser: what will take the step, or None.
        overlap: what the clean loss adds to cross-entropy.
        pieces: in how many pieces the clean batch passes through the model.

    Returns:
        A tangent for every parameter in the engine's scope, by name.
    """
    _check_tensor(clean_labels, "clean_labels")
    with untouched_random_state(clean_labels.device):
        net = functional(model, engine.scope(model))
        ahead = lookahead(model, net.params, optimiser)
        count = max(1, min(pieces, len(clean_labels)))  # the direction refuses an empty batch
        parts = zip(split(clean_inputs, count), clean_labels.tensor_split(count), strict=True)
        direction = mean_of_pieces(
            (
                len(y) / max(1, len(clean_labels)),
                in_best_layout(model, x, partial(_direction, net, ahead, y, overlap)),
            )
            for x, y in parts
        )
    return collectives.mean_direction(direction, len(clean_labels))


def clean_direction(
    net: Functional,
    ahead: Ahead,
    clean_inputs: Inputs,
    clean_labels: Tensor,
    overlap: Overlap = IGNORED,
) -> Params:
    """The gradient of the mean clean loss at the look-ahead point, times the step sizes.

    Args:
        net: the model taken apart.
        ahead: where to take the gradient, and how far each parameter moves per gradient.
        clean_inputs: a batch of trusted samples.
        clean_labels: their labels.
        overlap: what the clean loss adds to cross-entropy.

    Returns:
        v in ż = J v: a tangent for every parameter, by name.
    """
    with torch.enable_grad(), reverse_mode():
        leaves = {name: value.detach().requires_grad_() for name, value in ahead.params.items()}
        z = net.apply(leaves, clean_inputs)
        check_labels(z, clean_labels, "clean_labels")
        loss = cross_entropy(z, clean_labels).mean() + overlap(z, clean_labels)
        if not loss.requires_grad:
            raise ValueError(
                f"The logits do not depend on {next(iter(leaves))!r} or any other parameter that "
                "was to move: train one that they depend on (with LastLayer, name the final layer: "
                "LastLayer(layer=…)), and weigh outside torch.inference_mode()."
            )
        gradient = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    # An embedding with sparse=True has a sparse gradient, which few operations take.
    dense = (g.to_dense() if g.is_sparse else g for g in gradient)
    return {name: ahead.rates[name] * g for name, g in zip(leaves, dense, strict=True)}


def _direction(
    net: Functional, ahead: Ahead, labels: Tensor, overlap: Overlap, inputs: Inputs
) -> Params:
    return clean_direction(net, ahead, inputs, labels, overlap)


def weights_from(
    probe: Probe,
    inputs: Inputs,
    observed: Tensor,
    *,
    normalise: Normaliser | AcrossProcesses,
    pseudo: Source,
    index: Tensor | None,
    candidates: Candidates = PAIR,
) -> Weights:
    """Score the candidates of every sample and normalise (Eqs. 19, 24 and 9)."""
    check_labels(probe.z, observed, "observed")
    predicted = where_labelled(pseudo(probe.z, inputs, index), observed)
    field = candidates(probe.z, observed, predicted)
    raw = candidate_scores(probe.z, probe.dz, [candidate.target for candidate in field])
    scores = torch.stack([c.weighted(s) for c, s in zip(field, raw, strict=True)])
    scores = silenced(scores, observed, -torch.inf)  # no label of a void pixel competes
    weights = silenced(normalise.of_labels(scores, observed, predicted), observed)
    return folded(field, weights, scores, probe.z.shape[1])


def _check_choices(engine: object, normalise: object, pseudo: object) -> None:
    """Refuse choices of another kind before anything is computed."""
    for name, choice, kind, example in (
        ("engine", engine, Engine, "l2b.engines.forward"),
        ("normalise", normalise, Normaliser, "l2b.normalise.Softmax(temperature=10)"),
    ):
        if not isinstance(choice, kind):
            raise TypeError(f"`{name}` must be an object such as {example}, got {choice!r}.")
    if not callable(pseudo):
        raise TypeError(
            "`pseudo` must be a source of pseudo-labels such as l2b.pseudo.hard_self, got "
            f"{pseudo!r}: of a choice like MovingAverage(), call .build(model, samples) once and "
            "pass what it returns at every step."
        )


def _check_tensor(labels: object, name: str) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(
            f"`{name}` must be a tensor, got {type(labels).__name__}: call torch.as_tensor on it."
        )


def check_labels(z: Tensor, target: Tensor, name: str) -> None:
    """Refuse labels that do not fit the logits; their values on the CPU alone.

    Raises:
        ValueError: on a wrong shape, an empty batch, a class out of range, or floats that are
            no probabilities.
        TypeError: on class indices that are not int64.
    """
    if z.ndim < 2:
        raise ValueError(
            f"The model must return logits [n, classes, *pixels], got the shape {tuple(z.shape)}: "
            "two classes take two outputs."
        )
    classes, expected = z.shape[1], (z.shape[0], *z.shape[2:])
    if target.is_floating_point() and tuple(target.shape) != expected:
        expected = tuple(z.shape)
    elif target.dtype != torch.int64:
        raise TypeError(
            f"`{name}` must hold class indices as int64 or, for every class, probabilities as "
            f"floats, got {target.dtype} of shape {tuple(target.shape)}: call .long() on it."
        )
    if tuple(target.shape) != expected:
        raise ValueError(
            f"`{name}` must have the shape {expected} to fit logits of shape "
            f"{tuple(z.shape)}, got {tuple(target.shape)}: give one label for every sample (and "
            "pixel)."
        )
    if target.numel() == 0:
        raise ValueError(
            f"`{name}` must not be empty, got the shape {tuple(target.shape)}: a gradient needs at "
            "least one sample. Leave such batches out."
        )
    if target.device.type != "cpu":
        return  # looking at values would make a GPU wait; there, kernels refuse class indices
    if target.is_floating_point():
        total = target.detach().sum(dim=1, dtype=torch.float32)
        if not (bool((target >= 0).all()) and bool(((total - 1).abs() <= SUM_TOLERANCE).all())):
            raise ValueError(
                f"`{name}` of floats must be probabilities: at least 0, and 1 together over the "
                "classes (axis 1). Divide votes by their number."
            )
    else:
        low, high = int(target.min()), int(target.max())
        least = VOID if target.ndim > 1 else 0
        if low < least or high >= classes:
            wrong = low if low < least else high
            raise ValueError(
                f"`{name}` must lie in [0, {classes}) for a model with {classes} outputs, got "
                f"{wrong}: renumber the labels from 0, or give the model an output for each (none "
                "is ignored, not even -100; only in masks, -1 marks void pixels)."
            )
