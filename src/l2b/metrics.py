"""What torchmetrics lacks: how weights are spread over a batch."""

import torch
from torch import Tensor


def effective_sample_size(weights: Tensor) -> Tensor:
    """How many equally weighted samples would carry as much information (Kish).

    Args:
        weights: non-negative weights, [n] or any shape.

    Returns:
        (Σw)² / Σw², a scalar between 1 and the number of weights; 0 if all are 0.
    """
    total = weights.sum()
    return torch.where(total > 0, total.square() / weights.square().sum().clamp_min(1e-30), total)
