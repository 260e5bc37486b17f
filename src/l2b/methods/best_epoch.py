"""The epoch in which a network knew the clean samples best."""

from typing import Any

import torch
from torch import Tensor

from l2b.data import Data
from l2b.evaluate import evaluate, measure
from l2b.methods.base import Learner


class BestEpoch:
    """The parameters that judged the clean samples best so far, in a run not trained on them.

    Attributes:
        judged: accuracy (of masks, Dice) and minus the loss in that epoch; ties in the first
            go to the second.
        waited: epochs since then.
    """

    def __init__(self) -> None:
        """Nothing is judged yet."""
        self.judged: tuple[float, float] = (-1.0, 0.0)
        self.waited = 0
        self.state: dict[str, Tensor] = {}

    def judge(self, learner: Learner, data: Data) -> None:
        """Judge the network as it is, and keep it if it is the best."""
        found = evaluate(learner.predict, data.clean, data)
        judged = (found[measure(found)], -found["loss"])
        self.waited += 1
        if judged > self.judged:
            self.judged, self.waited = judged, 0
            state = learner.network.module.state_dict()
            self.state = {name: torch.clone(value) for name, value in state.items()}

    def bring_back(self, learner: Learner) -> None:
        """Give the network the parameters that it had then."""
        learner.network.module.load_state_dict(self.state)

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
