"""Learning to bootstrap behind scikit-learn's interface."""

import os
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import nn

from l2b.catalog import default
from l2b.estimation.defaults import chosen_model, sized_training
from l2b.estimation.labels import as_labels, as_numpy, joined, some
from l2b.estimation.learn import Learned, Plan, learn, raw_logits, usual_device
from l2b.estimation.parameters import check_parameters, class_weights
from l2b.estimation.rows import Features, SparseRows
from l2b.estimation.scaling import fitted_scale
from l2b.estimation.selection import candidates, elect
from l2b.estimation.task import Given, scaled
from l2b.estimation.trusted import checked_rows, stand_in
from l2b.methods import Method
from l2b.models import Model
from l2b.notices import notice
from l2b.quality import knowing_epochs, label_quality
from l2b.threads import cpu_threads

SUSPECT_BELOW = 0.5
DEFAULT = "gold_posterior"
COMPARED = 2  # checked samples that it takes to compare methods by


class L2BClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from labels of which some are wrong.

    A few checked samples tell it which labels help. Give them as ``X_clean, y_clean``, or
    say with ``clean`` which rows of X were checked. Without either, a fifth of the samples (of
    5,000 of them, if there are more), those that a cross-fitted linear model confirms with
    most confidence, stand in for them: that works where labels are wrong at random, not where
    they are wrong by rule.

    Features are scaled: to zero mean and unit variance, or, where three quarters of them are
    zero (words, one-hot columns), by their size alone. Sparse matrices become dense a batch
    at a time.

    Args:
        model: None for a perceptron sized to the data (a small conv net for images); or a
            module, which is copied; a function (shape, classes) → module; an l2b model.
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
            chosen, and "auto" compares methods, under the same weights.
        time_budget: seconds that "auto" may take, final training included. At least
            "clean_only" and "l2b" are compared, in one of three rounds, and ``distil``
            trains its network, whatever that takes. Where time runs out, what is
            found depends on the machine's speed.
        random_state: seed or generator of every random draw.
        n_jobs: threads; -1 for one per core, None one for small batches and else PyTorch's
            setting.
        device: "cpu", or "auto" for a GPU if there is one, to learn and to predict on; what was
            learned is kept on the CPU.
        verbose: 0 is silent, 1 tells what was decided, 2 shows progress bars.

    Attributes:
        classes_: labels, sorted.
        n_features_in_: number of features.
        feature_names_in_: their names, if X had any.
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
        clean_indices_: rows of X that were checked, or stand in for checked ones.
    """

    def __init__(
        self,
        model: Model | nn.Module | Callable[[tuple[int, ...], int], nn.Module] | None = None,
        *,
        method: str | Method = "auto",
        distil: bool = False,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 0.1,
        validation: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
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
            y: their labels as given, [n_samples]: strings, integers or booleans.
            X_clean: checked samples that are not in X.
            y_clean: their labels.
            clean: rows of X whose label in y was checked, as positions or a mask. In a search or a
                cross-validation it has to be a mask: scikit-learn cuts a mask with X, and leaves
                positions as they are, which then name other rows.

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
        X, y = validate_data(
            self, as_numpy(X), as_labels(y, "y"), accept_sparse="csr", allow_nd=True
        )
        self._shape = X.shape[1:]
        checked = self._checked(X_clean, y_clean)
        observed, y_clean = self._encode(y, None if checked is None else checked[1])
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.scale_ = fitted_scale(X)
        with cpu_threads(_threads(self.n_jobs)):
            given = self._given(X, observed, checked and (checked[0], y_clean), clean, seed)
            learned = self._learn(given, seed)
        self._judge_labels(given, learned, observed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most likely label of each sample."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, in the order of ``classes_``, [n_samples, n_classes]."""
        check_is_fitted(self)
        X = validate_data(self, as_numpy(X), accept_sparse="csr", allow_nd=True, reset=False)
        self._refuse_other_shapes("X", X)
        device = usual_device(cpu=self.device == "cpu")
        with cpu_threads(_threads(self.n_jobs)):
            z = raw_logits(self.module_, self.scale_, X, device).double()
        return torch.softmax(z, dim=1).numpy()

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may do with it."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _checked(self, X_clean: Any, y_clean: Any) -> tuple[Any, np.ndarray] | None:
        """Separate checked samples, validated, or None."""
        if X_clean is None and y_clean is None:
            return None
        if X_clean is None or y_clean is None:
            raise ValueError(
                "X_clean and y_clean must be given together, got only "
                f"{'y_clean' if X_clean is None else 'X_clean'}: they are checked samples and "
                "their labels."
            )
        x, y = validate_data(
            self, as_numpy(X_clean), as_labels(y_clean, "y_clean"),
            accept_sparse="csr", allow_nd=True, reset=False,
        )  # fmt: skip
        self._refuse_other_shapes("X_clean", x)
        return x, column_or_1d(y)

    def _refuse_other_shapes(self, name: str, x: Any) -> None:
        if x.shape[1:] != self._shape:
            raise ValueError(
                f"{name} must hold samples of shape {self._shape} as in fit, got {x.shape[1:]}."
            )

    def _encode(self, y: Any, y_clean: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels as class indices; sets the classes."""
        every = y if y_clean is None else joined(y, y_clean)
        check_classification_targets(every)
        self.classes_ = np.unique(every)
        if len(self.classes_) < 2:
            raise ValueError(
                "L2BClassifier needs labels of at least 2 classes, but y holds only one class: "
                f"{self.classes_[0]!r}. There is nothing to tell apart."
            )
        if y_clean is not None and not np.isin(y_clean, y).any():
            raise ValueError(
                f"No label of y_clean is in y, which holds {some(np.unique(y))}, got "
                f"{some(np.unique(y_clean))}: are they written alike?"
            )
        found = np.searchsorted(self.classes_, y)
        return found, None if y_clean is None else np.searchsorted(self.classes_, y_clean)

    def _given(
        self, X: Any, y: np.ndarray, checked: tuple[Any, Any] | None, clean: Any, seed: int
    ) -> Given:
        """Noisy and checked samples; rows of X that were checked are taken out of training."""
        samples = X.shape[0]
        rows = np.arange(0) if clean is None else checked_rows(clean, samples)
        noisy = np.setdiff1d(np.arange(samples), rows)
        if len(noisy) == 0:
            raise ValueError(
                "clean marks every row of X as checked, so no noisy label is left: use an "
                "ordinary classifier, or leave out what was not checked."
            )
        x = self.scale_(X[noisy])
        parts = [(X[rows], y[rows])] if len(rows) else []
        parts += [checked] if checked is not None else []
        if not parts:
            rows = stand_in(_features(x), y, seed)
            parts = [(X[rows], y[rows])]
            self._say(f"No checked samples: {len(rows)} confidently confirmed ones stand in.")
        else:
            self._tell_unchecked(np.concatenate([labels for _, labels in parts]))
        self.clean_indices_ = rows
        return Given(
            x=x,
            y=torch.from_numpy(y[noisy]),
            index=torch.from_numpy(noisy),
            x_clean=torch.cat([scaled(self.scale_, part) for part, _ in parts]),
            y_clean=torch.from_numpy(np.concatenate([labels for _, labels in parts])),
            classes=tuple(map(str, self.classes_)),
        )

    def _tell_unchecked(self, y_clean: np.ndarray) -> None:
        """Say which classes no checked sample shows, and so may never be predicted."""
        absent = np.setdiff1d(np.arange(len(self.classes_)), y_clean)
        if len(absent):
            notice(
                f"No checked sample is labelled {some(self.classes_[absent])}: what is never "
                "shown as trusted cannot be told from noise, and may never be predicted; comparing "
                "methods says nothing of it. Check at least one sample of every class."
            )

    def _learn(self, given: Given, seed: int) -> Learned:
        """Choose methods if asked to, then train each on everything; returns the foremost."""
        plan, self.comparison_, self.noisy_labels_help_ = self._plan(given), None, None
        method = self.method
        if method == "auto" and (self._stood_in(given) or len(given.y_clean) < COMPARED):
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
            self.method_ = candidates()[found.chosen]
            kept, self.module_ = (alone, alone.module) if self.distil else (first, elected.module)
        else:
            self.method_ = default(Method, method) if isinstance(method, str) else method
            kept = first = learn(given, self.method_, plan, seed)
            self.module_ = first.module
        self.history_, self.chosen_epoch_ = kept.outcome.history, kept.epoch
        return first

    def _plan(self, given: Given) -> Plan:
        return Plan(
            model=chosen_model(self.model, mostly_zero=not self.scale_.mean.any()),
            training=sized_training(
                len(given.y),
                epochs=self.epochs,
                batch=self.batch_size,
                lr=self.learning_rate,
                device=self.device,
                threads=_threads(self.n_jobs),
            ),
            validation=self.validation,
            progress=self.verbose > 1,
            class_weights=class_weights(self.class_weight, self.classes_),
        )

    def _stood_in(self, given: Given) -> bool:
        return len(np.intersect1d(given.index.numpy(), self.clean_indices_)) > 0

    def _judge_labels(self, given: Given, learned: Learned, y: np.ndarray) -> None:
        """Quality, suggestion and weights of every row of X; checked rows are beyond doubt."""
        ledger, classes = learned.outcome.ledger, len(self.classes_)
        heard = None
        if learned.judges and not self._stood_in(given):
            heard = knowing_epochs(torch.tensor(learned.known), learned.judges)
        found = label_quality(
            ledger.alpha,
            ledger.beta,
            ledger.pseudo,
            ledger.loss,
            given.y,
            classes=classes,
            heard=heard,
        )
        everywhere = _spread(len(y), given.index.numpy())
        suggested = everywhere(found.suggested, y)
        self.label_quality_ = everywhere(found.quality, 1.0)
        self.suggestion_confidence_ = everywhere(found.confidence, 1.0)
        self.suggested_labels_ = self.classes_[suggested]
        self.is_suspect_ = (self.label_quality_ < SUSPECT_BELOW) & (suggested != y)
        self.alpha_ = everywhere(ledger.alpha.float().nanmean(dim=0).nan_to_num(1.0), 1.0)
        self.beta_ = everywhere(ledger.beta.float().nanmean(dim=0).nan_to_num(0.0), 0.0)

    def _say(self, text: str) -> None:
        if self.verbose:
            Console().print(f"L2BClassifier: {text}", markup=False, highlight=False)


def _features(x: torch.Tensor | SparseRows) -> Features:
    return x.matrix if isinstance(x, SparseRows) else x.numpy()


def _spread(samples: int, rows: np.ndarray) -> Callable[[torch.Tensor, Any], np.ndarray]:
    """Values of some rows as values of all; the rest get a given one."""

    def everywhere(values: torch.Tensor, otherwise: Any) -> np.ndarray:
        found = np.array(np.broadcast_to(otherwise, samples), dtype=values.numpy().dtype)
        found[rows] = values.numpy()
        return found

    return everywhere


def _threads(jobs: int | None) -> int | None:
    """The n_jobs of scikit-learn as a number of threads: -1 for one per core, -2 for one less."""
    if jobs is None or jobs > 0:
        return jobs
    return max(1, (os.cpu_count() or 1) + 1 + jobs)
