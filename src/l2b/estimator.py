"""Learning to bootstrap behind scikit-learn's interface."""

import os
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import nn

from l2b.catalog import default
from l2b.estimation.contenders import candidates
from l2b.estimation.defaults import chosen_model, sized_training
from l2b.estimation.frames import frame_encoding, validated
from l2b.estimation.judged import judge
from l2b.estimation.learn import Learned, Plan, learn, raw_logits, usual_device
from l2b.estimation.meaning import as_given, check_same_tags, encoded, known, tag_names
from l2b.estimation.parallel import processes
from l2b.estimation.parameters import check_parameters
from l2b.estimation.rows import Features, SparseRows
from l2b.estimation.scaling import fitted_scale
from l2b.estimation.selection import elect
from l2b.estimation.task import Given, scaled
from l2b.estimation.trusted import checked_labels, stand_ins
from l2b.methods import Method
from l2b.models import Model
from l2b.scoring import Scoring
from l2b.targets import VOID
from l2b.threads import cpu_threads

DEFAULT = "gold_posterior"
COMPARED = 2  # checked samples that it takes to compare methods by


class L2BClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from labels of which some are wrong.

    A few checked samples tell it which labels help. Give them as ``X_clean, y_clean``, or
    say with ``clean`` which rows of X were checked. Without either, a fifth of the samples (of
    5,000 of them, if there are more), those that a cross-fitted linear model confirms with
    most confidence, stand in for them: that works where labels are wrong at random, not where
    they are wrong by rule.

    Samples may have several yes-or-no labels each, such as the findings on an image: then ``y`` is
    [n_samples, n_tags], 1, 0, or −1 or NaN where nobody knows, and every label is weighed,
    judged and predicted by itself. The answers that were checked may be marked one by one.

    Features are scaled: to zero mean and unit variance, or, where three quarters of them are
    zero (words, one-hot columns), by their size alone. Sparse matrices become dense a batch
    at a time. The columns of a data frame may hold numbers, yes and no, times, and categories (the
    type ``category``, or texts of which at most 50 differ), which become one feature each. Gaps
    are filled with the median and marked where X has some; a missing category is none of them.

    Args:
        model: None for a perceptron sized to the data (a small conv net for images); or a
            module, which is copied; a function (shape, classes) → module; an l2b model, or its
            name. Of several labels a sample it gives one logit for each, and ``classes`` is their
            number.
        method: "auto", a method's name (see ``l2b list``), or a method. "auto"
            compares methods, among them the checked samples alone, by cross-validation on the
            checked samples, and lets the networks of those that do best together vote, which
            are 1 to 32, each as sure as the checked samples bear out. Where they are several,
            one more learns from them, and has half of the vote. Without checked samples, or
            with one, it is "gold_posterior".
        distil: with "auto", keep one network alone: that which learned from the others, where
            there are several. It is a little less accurate than the vote, and as small and
            fast as any single network.
        epochs: passes over X; None chooses 20 to 100 by its size.
        batch_size: most samples per step.
        learning_rate: of SGD with momentum, which falls to zero along half a cosine.
        validation: share of the checked samples kept aside to choose an epoch by, in [0, 1);
            0 keeps the last epoch and learns from all of them.
        class_weight: None, "balanced", or a weight for each label. Samples are drawn in
            proportion, noisy ones by their labels as given and checked ones by theirs, which in
            expectation weights the losses; "balanced" draws all classes alike. An epoch is
            chosen, and "auto" compares methods, under the same weights. Not for several labels.
        scoring: what an epoch is chosen by where ``validation`` is not 0, and the automatic warm-up
            ends by: "accuracy", "balanced_accuracy", or "auroc", the area under the ROC curve, mean
            over the classes or the labels; "auto" for accuracy under ``class_weight``. "auto"
            compares methods by likelihood and accuracy all the same.
        time_budget: seconds that "auto" may take, final training included. At least
            "clean_only" and "l2b" (of several labels "l2b_tags") are compared, in one of three
            rounds, and ``distil`` trains its network, whatever that takes. Where time runs out,
            what is found depends on the machine's speed.
        random_state: seed or generator of every random draw.
        n_jobs: how much goes on at a time: with "auto" so many trainings, each in a process of its
            own (one after the other on a GPU), else so many threads; -1 for one per core. None for
            one training, with one thread where batches are small and else PyTorch's setting.
        device: "cpu", or "auto" for a GPU if there is one, to learn and to predict on; what was
            learned is kept on the CPU.
        verbose: 0 is silent, 1 tells what was decided, 2 shows progress bars.

    Attributes:
        classes_: labels, sorted, [n_classes]; of several labels a sample, 0 and 1 for each,
            [n_tags, 2].
        tag_names_: names of several labels, the columns of y, [n_tags]; None of one label.
        n_features_in_: number of features.
        feature_names_in_: their names, if X had any.
        encoding_: what the columns of a data frame became; None for what is none.
        module_: the trained network, from scaled inputs to logits; with "auto", all that vote,
            unless ``distil`` keeps one.
        method_: the method that trained it; with "auto", the foremost one.
        comparison_: what "auto" found, or None.
        noisy_labels_help_: whether "auto" found that they do, in the classes that checked samples
            show; None for other methods.
        label_quality_: how far each label in y can be trusted, in [0, 1], [n_samples].
        suggested_labels_: the label that each sample would be given, [n_samples].
        suggestion_confidence_: share of the epochs in favour of it, [n_samples].
        is_suspect_: where quality is under 0.5 and another label is suggested, [n_samples].
        alpha_: mean learned weight of each observed label; 1 is plain training.
        beta_: mean learned weight of each pseudo-label.
        history_: one row of metrics per epoch; with "auto" of the foremost method, with
            ``distil`` of the network that is kept.
        chosen_epoch_: the epoch whose parameters were kept, counted from 0, of the same.
        clean_indices_: rows of X that were checked, or stand in for checked ones; with several
            labels, those of which any answer was.

    What is said of each label is [n_samples, n_tags] where there are several: NaN for an answer
    that nobody knows, −1 as its suggestion.
    """

    def __init__(
        self,
        model: str | Model | nn.Module | Callable[[tuple[int, ...], int], nn.Module] | None = None,
        *,
        method: str | Method = "auto",
        distil: bool = False,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 0.1,
        validation: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        scoring: Scoring = "auto",
        time_budget: float = 600.0,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        """Keep the parameters as given."""
        self.model = model
        self.method = method
        self.distil = distil
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation = validation
        self.class_weight = class_weight
        self.scoring: Scoring = scoring
        self.time_budget = time_budget
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.device = device
        self.verbose = verbose

    # scikit-learn prescribes the names X, y and X_clean.
    def fit(
        self, X: Any, y: Any, X_clean: Any = None, y_clean: Any = None, *, clean: Any = None
    ) -> Self:
        """Learn from noisy labels with the help of checked ones.

        Args:
            X: samples, [n_samples, n_features] or [n_samples, channels, height, width]; an
                array, data frame, sparse matrix or tensor.
            y: their labels as given, [n_samples]: strings, integers or booleans; or several
                yes-or-no labels each, [n_samples, n_tags]: 1, 0, and −1 or NaN where nobody knows.
                The scores of scikit-learn, and so its searches, take labels that are all known.
            X_clean: checked samples that are not in X.
            y_clean: their labels, of the same kind.
            clean: rows of X whose label in y was checked, as positions or a mask. In a search or a
                cross-validation it has to be a mask: scikit-learn cuts a mask with X, and leaves
                positions as they are, which then name other rows. With several labels a mask
                [n_samples, n_tags] marks single answers; the others of such a sample stay noisy.

        A fit that fails leaves the estimator as it was.

        Raises:
            ValueError: if input or parameters are wrong; the message says what was expected.
            FloatingPointError: if training diverges.
        """
        before = dict(vars(self))
        try:
            return self._fit(X, y, X_clean, y_clean, clean)
        except BaseException as error:
            vars(self).clear()  # a fit that fails leaves the former one as it was
            vars(self).update(before)
            if isinstance(error, FloatingPointError):
                what = str(error).partition(": lower")[0]
                raise FloatingPointError(
                    f"{what}: lower learning_rate, which is {self.learning_rate}."
                ) from error
            raise

    def _fit(self, X: Any, y: Any, X_clean: Any, y_clean: Any, clean: Any) -> Self:
        check_parameters(self)
        tags = tag_names(y)
        self.encoding_ = frame_encoding(X)
        X, observed = validated(
            self,
            self.encoding_,
            X,
            as_given(y, "y", several=bool(tags)),
            several=bool(tags),
            first=True,
        )
        self._shape = X.shape[1:]
        if tags:
            check_same_tags(y, y_clean, "y_clean")
            check_same_tags(y, clean, "clean")
        checked = self._checked(X_clean, y_clean, several=bool(tags))
        self._meaning, observed, y_clean = encoded(observed, checked and checked[1], tags)
        self.classes_ = self._meaning.sklearn_classes
        self.tag_names_ = np.array(tags, dtype=object) if tags else None
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.scale_ = fitted_scale(X)
        with cpu_threads(_threads(self.n_jobs)):
            given = self._given(X, observed, checked and (checked[0], y_clean), clean, seed)
            learned = self._learn(given, seed)
        self._judge_labels(given, learned, observed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most likely label of each sample; of several yes-or-no labels, 1 or 0 for each."""
        chosen = self._logits(X).argmax(dim=1).numpy()
        return self._meaning.spelled(chosen)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, in the order of ``classes_``, [n_samples, n_classes].

        Of several yes-or-no labels a sample, the probability that each is so, [n_samples, n_tags].
        """
        p = torch.softmax(self._logits(X), dim=1).numpy()
        return p[:, 1] if self._meaning.tags else p

    def _logits(self, X: Any) -> torch.Tensor:
        """Of each class, [n_samples, n_classes]; of several labels, [n_samples, 2, n_tags]."""
        check_is_fitted(self)
        X = validated(self, self.encoding_, X)
        self._refuse_other_shapes("X", X)
        device = usual_device(cpu=self.device == "cpu")
        with cpu_threads(_threads(self.n_jobs)):
            return raw_logits(self.module_, self.scale_, X, device).double()

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may do with it."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.classifier_tags.multi_label = True
        return tags

    def _checked(self, X_clean: Any, y_clean: Any, *, several: bool) -> tuple[Any, Any] | None:
        """Separate checked samples, validated, or None."""
        if X_clean is None and y_clean is None:
            return None
        if X_clean is None or y_clean is None:
            raise ValueError(
                "X_clean and y_clean must be given together, got only "
                f"{'y_clean' if X_clean is None else 'X_clean'}: they are checked samples and "
                "their labels."
            )
        given = as_given(y_clean, "y_clean", several=several)
        x, y = validated(self, self.encoding_, X_clean, given, name="X_clean", several=several)
        self._refuse_other_shapes("X_clean", x)
        return x, y if several else column_or_1d(y)

    def _refuse_other_shapes(self, name: str, x: Any) -> None:
        if x.shape[1:] != self._shape:
            raise ValueError(
                f"{name} must hold samples of shape {self._shape} as in fit, got {x.shape[1:]}."
            )

    def _given(
        self,
        X: Any,
        y: np.ndarray,
        checked: tuple[Any, np.ndarray] | None,
        clean: Any,
        seed: int,
    ) -> Given:
        """Noisy and checked samples; labels in y that were checked are taken out of training."""
        mask = np.zeros(y.shape, dtype=bool) if clean is None else checked_labels(clean, y)
        observed = np.where(mask, VOID, y)
        noisy = np.flatnonzero(known(observed))
        if len(noisy) == 0:
            every = "answer" if self._meaning.tags else "row of X"
            raise ValueError(
                f"clean marks every {every} as checked, so no noisy label is left: use an "
                "ordinary classifier, or leave out what was not checked."
            )
        x = self.scale_(X[noisy])
        stood_in = clean is None and checked is None
        if stood_in:
            mask[noisy] = stand_ins(_features(x), y[noisy], seed)
        shown = np.where(mask, y, VOID)
        rows = np.flatnonzero(known(shown))
        parts = [(X[rows], shown[rows])] if len(rows) else []
        if checked is not None:
            told = np.flatnonzero(known(checked[1]))
            parts.append((checked[0][told], checked[1][told]))
        y_clean = np.concatenate([labels for _, labels in parts])
        if stood_in:
            self._say(f"No checked samples: {len(rows)} confidently confirmed ones stand in.")
        else:
            self._meaning.tell_unshown(y_clean)
        self.clean_indices_ = rows
        return Given(
            x=x,
            y=torch.from_numpy(observed[noisy]),
            index=torch.from_numpy(noisy),
            x_clean=torch.cat([scaled(self.scale_, part) for part, _ in parts]),
            y_clean=torch.from_numpy(y_clean),
            classes=self._meaning.names,
            tags=self._meaning.tags,
            stood_in=stood_in,
        )

    def _learn(self, given: Given, seed: int) -> Learned:
        """Choose methods if asked to, then train each on everything; returns the foremost."""
        plan, self.comparison_, self.noisy_labels_help_ = self._plan(given), None, None
        method = self.method
        if method == "auto" and (given.stood_in or len(given.y_clean) < COMPARED):
            method = DEFAULT
            self._say(
                f'method="auto" needs {COMPARED} checked samples or more to compare by: '
                f"using {DEFAULT}."
            )
        if method == "auto":
            elected = elect(
                given,
                plan,
                budget=self.time_budget,
                seed=seed,
                say=self._say,
                distil=self.distil,
            )
            found, first, alone = elected.comparison, elected.learned, elected.single
            self.comparison_, self.noisy_labels_help_ = found, found.noisy_labels_help
            self.method_ = elected.method
            kept, self.module_ = (alone, alone.module) if self.distil else (first, elected.module)
        else:
            self.method_ = default(Method, method) if isinstance(method, str) else method
            kept = first = learn(given, self.method_, plan, seed)
            self.module_ = first.module
        self.history_, self.chosen_epoch_ = kept.history, kept.epoch
        return first

    def _plan(self, given: Given) -> Plan:
        alone = self.device == "cpu"
        jobs = processes(self.n_jobs, len(candidates()), cpu=alone) if self.method == "auto" else 1
        return Plan(
            model=chosen_model(self.model, mostly_zero=not self.scale_.mean.any()),
            training=sized_training(
                len(given.y),
                epochs=self.epochs,
                batch=self.batch_size,
                lr=self.learning_rate,
                device=self.device,
                threads=_threads(self.n_jobs) if jobs == 1 else None,
            ),
            validation=self.validation,
            progress=self.verbose > 1,
            jobs=jobs,
            class_weights=self._meaning.weights(self.class_weight),
            scoring=self.scoring,
        )

    def _judge_labels(self, given: Given, learned: Learned, y: np.ndarray) -> None:
        """Quality, suggestion and weights of every label in y."""
        found = judge(given, learned, y)
        self.label_quality_ = found.quality
        self.suggestion_confidence_ = found.confidence
        self.suggested_labels_ = self._meaning.spelled(found.suggested)
        self.is_suspect_ = found.suspect
        self.alpha_, self.beta_ = found.alpha, found.beta

    def _say(self, text: str) -> None:
        if self.verbose:
            Console().print(f"L2BClassifier: {text}", markup=False, highlight=False)


def _features(x: torch.Tensor | SparseRows) -> Features:
    return x.matrix if isinstance(x, SparseRows) else x.numpy()


def _threads(jobs: int | None) -> int | None:
    """The n_jobs of scikit-learn as a number of threads: -1 for one per core, -2 for one less."""
    if jobs is None or jobs > 0:
        return jobs
    return max(1, (os.cpu_count() or 1) + 1 + jobs)
