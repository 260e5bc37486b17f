"""The epoch in which a network knew the clean samples best."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from l2b.data import Data
from l2b.evaluate import evaluate, measure


class BestEpoch:
    """The parameters that judged the clean samples best so far, in a run not trained on them.

    Attributes:
        judged: accuracy (`measure`) and minus the loss in that epoch; ties in the first go to
            the second.
        waited: epochs since then.
    """

    def __init__(self) -> None:
        """Nothing is judged yet."""
        self.judged: tuple[float, float] = (-1.0, 0.0)
        self.waited = 0
        self.state: dict[str, Tensor] = {}

    def judge(self, predict: Callable[[Tensor], Tensor], module: nn.Module, data: Data) -> None:
        """Judge the model as it is, and keep its parameters if it is the best.

        Args:
            predict: standardised inputs to logits.
            module: what predicts.
            data: gives the clean samples.
        """
        found = evaluate(predict, data.clean, data)
        judged = (found[measure(data)], -found["loss"])
        self.waited += 1
        if judged > self.judged:
            self.judged, self.waited = judged, 0
            state = module.state_dict()
            self.state = {name: torch.clone(value) for name, value in state.items()}

    def bring_back(self, module: nn.Module) -> None:
        """Give the model the parameters that it had then."""
        module.load_state_dict(self.state)

    def forget(self) -> None:
        """Keep the judgement alone, where the parameters are no longer needed."""
        self.state = {}

    def state_dict(self) -> dict[str, Any]:
        """Judgement and parameters."""
        return {"judged": list(self.judged), "waited": self.waited, "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        accuracy, loss = state["judged"]
        self.judged, self.waited, self.state = (accuracy, loss), state["waited"], state["state"]
