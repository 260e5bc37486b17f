"""Methods of learning from noisy labels, one per file."""

from l2b.methods.base import Learner, Method, NoisyOnly, Plain, Task, labelled_mean

__all__ = ["Learner", "Method", "NoisyOnly", "Plain", "Task", "labelled_mean"]
