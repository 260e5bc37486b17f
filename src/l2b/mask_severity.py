"""How hard masks are deformed: until a target Dice is met, and never until nothing is left."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Deform = Callable[[Tensor], Tensor]
"""Amount for every image, [N], to deformed masks, [N, height, width]; 1 is the usual amount."""

BISECTIONS = 12
HALVINGS = 6
CLOSE = 0.002  # to the target Dice: near enough to stop looking
TOLERANCE = 0.05  # of the Dice that is met
SAMPLE = 512  # images that an amount is looked for on
AT_ONCE = 1024  # images


def pooled_dice(observed: Tensor, true: Tensor, classes: int) -> float:
    """Dice over all pixels of all images, mean over the classes that occur, background aside.

    Args:
        observed: class indices, [N, *pixels].
        true: class indices, likewise.
        classes: number of classes.

    Returns:
        A value in [0, 1]; 1 if no class occurs.
    """
    pairs = torch.bincount((true * classes + observed).flatten(), minlength=classes**2)
    pairs = pairs.view(classes, classes).double()
    either = pairs.sum(dim=0) + pairs.sum(dim=1)
    dice = 2 * pairs.diagonal() / either.clamp_min(1)
    shown = (either > 0)[1:]
    return dice[1:][shown].mean().item() if bool(shown.any()) else 1.0


def amount_for(
    owner: str, target: float, masks: Tensor, deform: Deform, *, strongest: float, classes: int
) -> float:
    """The amount, the same for all images, at which the pooled Dice is the target.

    Args:
        owner: name of the noise model, for the message.
        target: Dice, in (0, 1).
        masks: true masks, [N, height, width].
        deform: deforms them; the more, the greater the amount.
        strongest: largest amount that makes sense.
        classes: number of classes.

    Raises:
        ValueError: if no amount up to the strongest meets the target.
    """

    def dice(amount: float) -> float:
        return pooled_dice(deform(torch.full((len(masks),), amount)), masks, classes)

    low, high, tried = 0.0, strongest, {}
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        tried[middle] = dice(middle)
        low, high = (middle, high) if tried[middle] > target else (low, middle)
        if abs(tried[middle] - target) < CLOSE:
            break
    best = min(tried, key=lambda amount: abs(tried[amount] - target))
    if abs(tried[best] - target) > TOLERANCE:
        raise ValueError(
            f"{owner} cannot corrupt these masks to a Dice of {target:g}: the nearest it comes "
            f"is {tried[best]:.3f}. Choose another target, or dice none for the usual amount."
        )
    return best


def sample(masks: Tensor) -> Tensor:
    """All masks if they are few, else some that show anything, evenly spaced over all."""
    if len(masks) <= SAMPLE:
        return masks
    rows = (masks > 0).flatten(1).any(dim=1).nonzero().squeeze(1)
    places = torch.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).round().long()
    return masks[rows[places]]


def keep_objects(masks: Tensor, deform: Deform, amounts: Tensor, classes: int) -> Tensor:
    """Deform, and deform less wherever a class would vanish from its image.

    Args:
        masks: true masks, [N, height, width].
        deform: deforms them.
        amounts: for every image, [N].
        classes: number of classes.

    Returns:
        Masks that show every class that the true ones show; an image for which even a small
        amount is too much stays as it is.
    """
    shown = _shown(masks, classes)
    deformed = deform(amounts)
    for _ in range(HALVINGS):
        emptied = (shown & ~_shown(deformed, classes)).any(dim=1)
        if not emptied.any():
            return deformed
        amounts = torch.where(emptied, amounts / 2, amounts)
        deformed = torch.where(emptied.view(-1, 1, 1), deform(amounts), deformed)
    emptied = (shown & ~_shown(deformed, classes)).any(dim=1)
    return torch.where(emptied.view(-1, 1, 1), masks, deformed)


def sampled(masks: Tensor, places: Callable[[slice], Tensor]) -> Tensor:
    """Masks read at other places, by their nearest pixel; outside is background.

    Args:
        masks: class indices, [N, height, width].
        places: for some of the images, where to read: (x, y) in pixels, [k, height, width, 2].
    """
    size = torch.tensor([masks.shape[2], masks.shape[1]])
    pieces = []
    for start in range(0, len(masks), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        grid = (2 * places(rows) + 1) / size - 1
        piece = functional.grid_sample(
            masks[rows].unsqueeze(1).float(), grid, mode="nearest", align_corners=False
        )
        pieces.append(piece.squeeze(1).long())
    return torch.cat(pieces) if pieces else masks.clone()


def pixel_grid(masks: Tensor) -> Tensor:
    """(x, y) of every pixel, [height, width, 2]."""
    height, width = masks.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=2).float()


def _shown(masks: Tensor, classes: int) -> Tensor:
    """Whether each image shows each class, [N, classes]."""
    found = torch.zeros(len(masks), classes, dtype=torch.bool)
    return found.scatter_(1, masks.flatten(1), value=True)
