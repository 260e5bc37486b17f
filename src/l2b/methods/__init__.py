"""Methods of learning from noisy labels, one per file."""

from l2b.methods.base import Learner, Method, Task

__all__ = ["Learner", "Method", "Task"]
