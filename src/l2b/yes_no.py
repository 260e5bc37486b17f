"""Several labels a sample, each yes or no: what is said of pixels holds of labels."""

import torch
from torch import Tensor, nn

from l2b.losses import logits


class YesNo(nn.Module):
    """A model of several yes-or-no labels a sample, as one of two classes for each of them.

    What the drop-in does for the pixels of a mask it then does for every label by itself: each has
    its own two weights, and −1 says that nobody knows. The logit of "no" is 0, so that
    cross-entropy is binary cross-entropy of the model's logit, and the softmax its sigmoid::

        model = l2b.YesNo(network)  # network(inputs): one logit a label, [n, labels]
        observed = torch.where(y.isnan(), -1, y).long()  # [n, labels], 0, 1 or −1
        weights = l2b.weigh(model, inputs, observed, clean_inputs, clean_labels)
        loss = l2b.bootstrapped_loss(model(inputs), observed, weights)
    """

    def __init__(self, network: nn.Module) -> None:
        """Keep hold of the network.

        Args:
            network: any module that returns one logit for each label, [n, labels], or an output
                that has such `logits`.
        """
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """Logits of no and yes, [n, 2, labels].

        Args:
            inputs: what the network is called with.
            named: likewise.

        Raises:
            ValueError: if the network returns anything but [n, labels].
        """
        z = logits(self.network(*inputs, **named))
        if z.ndim != 2:
            raise ValueError(
                f"YesNo needs one logit for each label, [n, labels], got {tuple(z.shape)}: of one "
                "label, let the network return [n, 1]."
            )
        return torch.stack([torch.zeros_like(z), z], dim=1)
