"""One optimiser step, in every way that `step_time.py` compares.

All use SGD with momentum 0.9 and weight decay 5e-4, hard pseudo-labels of the current model
and Eq. 9, and take the same weighted step in the end.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import higher
import torch
import torchopt
from torch import Tensor, nn, optim
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from l2b import engines
from l2b.engines import Engine
from l2b.normalise import PositiveShare
from l2b.weighing import weigh, weighed_pass

LR, MOMENTUM, DECAY = 0.01, 0.9, 5e-4
Step = Callable[[], object]
COMPILED = "plain, compiled"  # only when asked for: compiling takes longer than all the rest


class Setup(NamedTuple):
    """A model, its optimiser, one noisy and one clean batch."""

    model: nn.Module
    optimiser: optim.SGD
    x: Tensor
    labels: Tensor
    clean: Tensor
    clean_labels: Tensor

    @classmethod
    def of(
        cls, model: nn.Module, x: Tensor, labels: Tensor, clean: Tensor, clean_labels: Tensor
    ) -> "Setup":
        """With the optimiser that all contestants use."""
        optimiser = optim.SGD(model.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY)
        return Setup(model, optimiser, x, labels, clean, clean_labels)

    def finish(self, z: Tensor, alpha: Tensor, beta: Tensor, pseudo: Tensor) -> None:
        """Backward pass of the weighted loss, and the optimiser's step."""
        f = cross_entropy(z, self.labels, reduction="none")
        g = cross_entropy(z, pseudo, reduction="none")
        self.optimiser.zero_grad()
        (alpha * f + beta * g).sum().backward()
        self.optimiser.step()

    def weighted(self, z: Tensor, scores: Tensor, pseudo: Tensor) -> None:
        """Eq. 9, then the step."""
        alpha, beta = PositiveShare()(scores)
        self.finish(z, alpha, beta, pseudo)

    def weighted_loss(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The inner loss with weights of zero, the weights, and the pseudo-labels."""
        pseudo = z.detach().argmax(1)
        weights = torch.zeros(2, len(z), requires_grad=True)
        f = cross_entropy(z, self.labels, reduction="none")
        g = cross_entropy(z, pseudo, reduction="none")
        return (weights[0] * f + weights[1] * g).sum(), weights, pseudo


def twice_differentiable(build: Callable[[Setup], Step]) -> Callable[[Setup], Step]:
    """With attention made of parts: the fused kernel's backward pass has no derivative."""

    def build_with_parts(s: Setup) -> Step:
        step = build(s)

        def step_with_parts() -> None:
            with sdpa_kernel(SDPBackend.MATH):
                step()

        return step_with_parts

    return build_with_parts


def plain(s: Setup) -> Step:
    """Cross-entropy."""

    def step() -> None:
        loss = cross_entropy(s.model(s.x), s.labels)
        s.optimiser.zero_grad()
        loss.backward()
        s.optimiser.step()

    return step


def plain_channels_last(s: Setup) -> Step:
    """Cross-entropy on channels-last images, which our engines arrange for themselves."""
    x = s.x.contiguous(memory_format=torch.channels_last) if s.x.ndim == 4 else s.x
    return plain(s._replace(x=x))


def with_higher(s: Setup) -> Step:
    """The authors' algorithm: one optimiser step unrolled with its graph."""

    def step() -> None:
        with higher.innerloop_ctx(s.model, s.optimiser, copy_initial_weights=False) as (net, inner):
            loss, weights, pseudo = s.weighted_loss(net(s.x))
            inner.step(loss)
            clean_loss = cross_entropy(net(s.clean), s.clean_labels)
            (grad,) = torch.autograd.grad(clean_loss, weights)
        s.weighted(s.model(s.x), -grad, pseudo)

    return step


def with_torchopt(s: Setup) -> Step:
    """The same by torchopt's differentiable SGD."""

    def step() -> None:
        inner = torchopt.MetaSGD(s.model, LR, momentum=MOMENTUM, weight_decay=DECAY)
        before = torchopt.extract_state_dict(s.model, by="reference")
        loss, weights, pseudo = s.weighted_loss(s.model(s.x))
        inner.step(loss)
        clean_loss = cross_entropy(s.model(s.clean), s.clean_labels)
        (grad,) = torch.autograd.grad(clean_loss, weights)
        torchopt.recover_state_dict(s.model, before)
        s.weighted(s.model(s.x), -grad, pseudo)

    return step


def by_hand(s: Setup) -> Step:
    """The unrolled step written out: gradient with its graph, then the gradient of that."""

    def step() -> None:
        params = dict(s.model.named_parameters())
        loss, weights, pseudo = s.weighted_loss(s.model(s.x))
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        ahead = {n: p - LR * g for (n, p), g in zip(params.items(), grads, strict=True)}
        clean_loss = cross_entropy(functional_call(s.model, ahead, (s.clean,)), s.clean_labels)
        (grad,) = torch.autograd.grad(clean_loss, weights)
        s.weighted(s.model(s.x), -grad, pseudo)

    return step


def separate(engine: Engine) -> Callable[[Setup], Step]:
    """`l2b.weigh`, then an ordinary training step."""

    def build(s: Setup) -> Step:
        def step() -> None:
            w = weigh(s.model, s.x, s.labels, s.clean, s.clean_labels, engine=engine)
            s.finish(s.model(s.x), w.alpha, w.beta, w.pseudo)

        return step

    return build


def shared(engine: Engine) -> Callable[[Setup], Step]:
    """`l2b.weighed_pass`: weights and the training pass in one."""

    def build(s: Setup) -> Step:
        def step() -> None:
            z, w = weighed_pass(s.model, s.x, s.labels, s.clean, s.clean_labels, engine=engine)
            s.finish(z, w.alpha, w.beta, w.pseudo)

        return step

    return build


CONTESTANTS: dict[str, Callable[[Setup], Step]] = {
    "plain": plain,
    "plain, channels-last images": plain_channels_last,
    "higher": twice_differentiable(with_higher),
    "torchopt": twice_differentiable(with_torchopt),
    "by hand": twice_differentiable(by_hand),
    "double_backward": twice_differentiable(separate(engines.double_backward)),
    "forward": separate(engines.forward),
    "finite_difference": separate(engines.finite_difference),
    "last_layer": separate(engines.last_layer),
    "forward, shared": shared(engines.forward),
    "finite_difference, shared": shared(engines.finite_difference),
    "last_layer, shared": shared(engines.last_layer),
    COMPILED: lambda s: plain(s._replace(model=cast(nn.Module, torch.compile(s.model)))),
}
