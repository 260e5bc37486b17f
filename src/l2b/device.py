"""Where a run computes, and in which precision."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized

from l2b.folder import RunFolder
from l2b.training import Training


def accelerator_for(training: Training, folder: RunFolder | None) -> Accelerator:
    """The device of a run, and where its figures are tracked.

    Precision is `autocast`'s alone: what a launcher says of it in the environment (accelerate's
    ``ACCELERATE_MIXED_PRECISION``) would else scale losses that nothing scales back.

    Args:
        training: what was asked for.
        folder: of the run; trackers write there.

    Raises:
        ValueError: if something is tracked without a folder.
    """
    cpu = training.device == "cpu"
    _forget_other_device(cpu=cpu)
    # Accelerate settles it once for the process, and refuses another than it has settled.
    precision = None if is_initialized() else "no"
    if not training.tensorboard:
        return Accelerator(cpu=cpu, mixed_precision=precision)
    if folder is None:
        raise ValueError("training.tensorboard needs a run folder to write to: set --out.")
    tracker = Accelerator(
        cpu=cpu, mixed_precision=precision, log_with="tensorboard", project_dir=folder.path
    )
    tracker.init_trackers("tensorboard")
    return tracker


def _forget_other_device(*, cpu: bool) -> None:
    """Let a run choose its device, which accelerate otherwise settles once for the process."""
    if not PartialState._shared_state or torch.distributed.is_initialized():
        return
    on_cpu = torch.device(PartialState().device or "cpu").type == "cpu"
    if on_cpu != cpu and (cpu or torch.cuda.is_available()):
        AcceleratorState._reset_state(reset_partial_state=True)


def autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """What makes passes run in a precision on a device."""
    if precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
