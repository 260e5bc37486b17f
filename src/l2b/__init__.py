"""Train good models from badly labelled data.

The drop-in for a loop of your own::

    weights = l2b.weigh(model, inputs, observed, clean_inputs, clean_labels)
    loss = l2b.bootstrapped_loss(model(inputs), observed, weights)

A whole experiment: ``l2b.Run(...).execute("runs/first")``, or ``l2b run`` on the command
line. Names are loaded when first used, so that the command line answers at once.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l2b import candidates, engines, lookahead, normalise, pseudo
    from l2b.advise import StepAdvice, advise_step_size
    from l2b.audit import apply_decisions, audit_own, audit_run
    from l2b.estimator import L2BClassifier
    from l2b.experiment import Run
    from l2b.losses import bootstrapped_loss
    from l2b.trained import TrainedModel, load_model
    from l2b.types import Weights
    from l2b.weighing import weigh, weighed_pass
    from l2b.yes_no import YesNo

__version__ = "0.1.0"

__all__ = [
    "L2BClassifier",
    "Run",
    "StepAdvice",
    "TrainedModel",
    "Weights",
    "YesNo",
    "advise_step_size",
    "apply_decisions",
    "audit_own",
    "audit_run",
    "bootstrapped_loss",
    "candidates",
    "engines",
    "load_model",
    "lookahead",
    "normalise",
    "pseudo",
    "weigh",
    "weighed_pass",
]

_HOMES = {
    "L2BClassifier": "l2b.estimator",
    "Run": "l2b.experiment",
    "StepAdvice": "l2b.advise",
    "TrainedModel": "l2b.trained",
    "advise_step_size": "l2b.advise",
    "apply_decisions": "l2b.audit",
    "audit_own": "l2b.audit",
    "audit_run": "l2b.audit",
    "Weights": "l2b.types",
    "YesNo": "l2b.yes_no",
    "bootstrapped_loss": "l2b.losses",
    "load_model": "l2b.trained",
    "weigh": "l2b.weighing",
    "weighed_pass": "l2b.weighing",
}
_MODULES = ("candidates", "engines", "lookahead", "normalise", "pseudo")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"l2b.{name}")
    if name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = found  # also over the submodule of the same name
        return found
    raise AttributeError(f"module 'l2b' has no attribute {name!r}")
