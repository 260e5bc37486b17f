"""What a comparison of methods on the checked samples found."""

from dataclasses import dataclass

from torch import Tensor

FOLDS = 3
WITHOUT = "clean_only"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How well each method did on checked samples that it had not seen.

    Of a class that no checked sample shows it says nothing, however methods do there.

    Attributes:
        correct: for each method, whether each judged sample was right, [judged].
        worth: how much each judged sample counts, with mean 1, [judged].
        members: weights of the methods that vote in the final model, the heaviest first.
        temperatures: at which each of them votes.
        seconds: that the comparison took.
        folds: rounds that fitted into the time budget.
        left_out: methods for which there was no time, or none after the first round.
        of: where several labels a sample are judged, which sample each answer is of, [judged].
    """

    correct: dict[str, Tensor]
    worth: Tensor
    members: dict[str, float]
    temperatures: dict[str, float]
    seconds: float
    folds: int
    left_out: tuple[str, ...] = ()
    of: Tensor | None = None

    @property
    def chosen(self) -> str:
        """The method with the most weight."""
        return next(iter(self.members))

    @property
    def accuracy(self) -> dict[str, float]:
        """Share of right predictions, by method; classes count as in training."""
        return {name: (self.worth * right).mean().item() for name, right in self.correct.items()}

    @property
    def noisy_labels_help(self) -> bool:
        """Whether the best use of the noisy labels beats doing without by two standard errors.

        Two, since it is the best of several, which flatters it. Fewer than five judged samples
        never say so.
        """
        gain, error = self.gain
        return gain > 2 * error

    @property
    def gain(self) -> tuple[float, float]:
        """Accuracy that the best use of the noisy labels adds, and its standard error.

        The error is what it would be if nothing were gained, as McNemar's test has it, so that a
        few samples on which all agree by chance prove nothing. Answers of one sample go together:
        they are one draw, not several.
        """
        others = [name for name in self.correct if name != WITHOUT]
        best = max(others, key=self.accuracy.__getitem__)
        change = self.worth * (self.correct[best].float() - self.correct[WITHOUT].float())
        drawn = change
        if self.of is not None:
            drawn = change.new_zeros(int(self.of.max()) + 1).index_add(0, self.of, change)
        return change.mean().item(), drawn.norm().item() / len(change)

    def summary(self) -> str:
        """What was found, for a person."""
        ranked = sorted(self.accuracy.items(), key=lambda item: -item[1])
        table = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in ranked)
        gain, error = self.gain
        verdict = (
            f"The noisy labels help: {gain:+.1%} ± {error:.1%}."
            if self.noisy_labels_help
            else f"The noisy labels do not help beyond doubt: {gain:+.1%} ± {error:.1%} against "
            "the checked samples alone. More checked samples would tell, or do more."
        )
        members = ", ".join(f"{name} ({weight:.0%})" for name, weight in self.members.items())
        judged = f"{len(self.worth)} checked samples"
        if self.of is not None:
            judged = f"{len(self.worth)} answers of {len(self.of.unique())} checked samples"
        measure = "Accuracy" if bool((self.worth == 1).all()) else "Class-weighted accuracy"
        hurried = (
            f" No time for {', '.join(self.left_out)}: raise time_budget." if self.left_out else ""
        )
        return (
            f"{verdict} {measure} on {judged}, held out in {self.folds} of {FOLDS} "
            f"folds: {table}. Chosen: {members} ({self.seconds:.0f} s).{hurried}"
        )
