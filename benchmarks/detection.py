"""Finding and correcting wrong labels: the audit of one run of l2b, cleanlab, small loss.

python benchmarks/detection.py [--seeds 5] [--sets digits-symmetric-40 …] [--out FILE]

All use the same network and training settings. l2b: the method that ``l2b audit --csv`` takes,
weights from the last layer, averaged past predictions as pseudo-labels, an automatic warm-up; and
the opinions of linear models beside the run's. cleanlab: 5-fold
cross-validated probabilities (5 trainings), ``get_label_quality_scores`` by self-confidence. It
gets the checked samples as further training data in every fold, so that all know the same.
Small loss: the mean loss of the first half of the epochs of one standard training, on noisy
and checked samples together.

``retrained`` is the test accuracy, at the last epoch, of standard training on what each makes
of the labels, the checked samples added: all labels as they are (small loss's own training);
without those that cleanlab's ``find_label_issues`` names; with the audit's suggestions in the
place of suspects, without those of which it is not confident (under 0.5). ``seconds`` are of
processor time, on one thread, of finding alone. CIFAR images are learned in mixed precision by
all, which halves the time.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from provenance import RESULTS, provenance
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from spread import spread

from l2b.audit.apply import CONFIDENT
from l2b.audit.opinion import second_opinion
from l2b.audit.summary import wrong_probability
from l2b.audit.table import audit_table
from l2b.audit.views import view_of
from l2b.data import Data, Pool
from l2b.datasets import Dataset
from l2b.datasets.cifar10 import Cifar10
from l2b.datasets.digits import Digits
from l2b.datasets.trec import Trec
from l2b.datasets.yoruba import Yoruba
from l2b.engines import LastLayer
from l2b.evaluate import evaluate
from l2b.experiment import Run, ledger_state
from l2b.files import write_json
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.l2b import L2B
from l2b.models.mlp import Mlp
from l2b.noise import Noise
from l2b.noise.existing import Existing
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric
from l2b.pseudo import Temporal
from l2b.train import Outcome, fit

FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One data set with wrong labels: what to run, and how many samples are checked."""

    data: Dataset
    noise: Noise
    clean: int
    words: bool = False
    epochs: int = 40
    batch: int = 64
    precision: Literal["float32", "bfloat16"] = "float32"

    def run(self, seed: int) -> Run:
        """The run whose settings all contestants share."""
        method = L2B(engine=LastLayer(), pseudo=Temporal(soft=False), clean_weight=0.0)
        run = Run(
            data=self.data,
            noise=self.noise,
            method=method,
            clean=self.clean,
            validation=0.0,
            seed=seed,
        )
        model = {"model": Mlp(hidden=(128,))} if self.words else {}
        training = replace(
            run.training,
            epochs=self.epochs,
            batch=self.batch,
            clean_batch=self.batch,
            precision=self.precision,
        )
        return replace(run, training=training, **model)


HUMAN = Case(
    data=Cifar10(limit=10_000),
    noise=Existing(annotation="worst"),
    clean=1000,
    epochs=8,
    batch=128,
    precision="bfloat16",
)
CASES = {
    "digits-symmetric-40": Case(data=Digits(), noise=Symmetric(rate=0.4), clean=50),
    "digits-symmetric-80": Case(data=Digits(), noise=Symmetric(rate=0.8), clean=50),
    "digits-pair-flip-40": Case(data=Digits(), noise=PairFlip(rate=0.4), clean=50),
    "yoruba-weak": Case(
        data=Yoruba(), noise=Existing(annotation="weak"), clean=189, words=True, epochs=30
    ),
    "trec-weak": Case(
        data=Trec(), noise=Existing(annotation="weak"), clean=603, words=True, epochs=20
    ),
    "cifar10n-worst": HUMAN,
    "cifar10n-worst-longer": replace(HUMAN, epochs=20),
}
DIGITS = ("digits-symmetric-40", "digits-symmetric-80", "digits-pair-flip-40")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one contestant says, and what that took.

    Attributes:
        quality: of every sample's label, higher is better.
        suggested: a label for every sample.
        seconds: of processor time.
        labels: for training again; None does not train again.
        kept: samples to train on again.
        retrained: test accuracy in percent, where that training took place already.
    """

    quality: np.ndarray
    suggested: np.ndarray
    seconds: float
    labels: np.ndarray | None = None
    kept: np.ndarray | None = None
    retrained: float | None = None


def bootstrapped(run: Run, data: Data) -> dict[str, Found]:
    """The audit of one run of L2B, without and with the checked samples' second opinion."""
    start = time.process_time()
    result = run.execute(progress=False, data=replace(data, test=None))
    ledger = ledger_state(data, result.outcome)
    ledger = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in ledger.items()}
    table = audit_table(ledger)
    middle = time.process_time()
    seen = view_of(data, result.outcome.learner.network.module)
    revised = second_opinion(table, seen, data.clean.labels.numpy())
    end = time.process_time()
    return {
        "l2b run alone": Found(
            quality=table.quality, suggested=table.suggested, seconds=middle - start
        ),
        "l2b audit": Found(
            quality=revised.quality,
            suggested=revised.suggested,
            seconds=end - start,
            labels=revised.suggested,
            kept=revised.confidence >= CONFIDENT,
        ),
    }


def cross_validated(run: Run, data: Data) -> Found:
    """Score by cleanlab on out-of-fold probabilities of the same network."""
    start = time.process_time()
    labels = data.train.labels.numpy()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=run.seed)
    given = np.zeros((len(labels), len(data.classes)))
    for inside, outside in folds.split(labels, labels):
        part = replace(data, train=_joined(_part(data.train, inside), data.clean), test=None)
        learner = fit(
            part, run.model, CrossEntropy(), run.training, seed=run.seed, progress=False
        ).learner
        with torch.no_grad():
            z = learner.predict(data.standardise(data.train.inputs[outside]))
        given[outside] = torch.softmax(z.double(), dim=1).numpy()
    quality = get_label_quality_scores(labels, given, method="self_confidence")
    seconds = time.process_time() - start
    issues = find_label_issues(labels, given, n_jobs=1)
    return Found(
        quality=quality,
        suggested=given.argmax(axis=1),
        seconds=seconds,
        labels=labels,
        kept=~issues,
    )


def small_loss(run: Run, data: Data) -> Found:
    """Samples that standard training learns late."""
    start = time.process_time()
    part = replace(data, train=_joined(data.train, data.clean), test=None)
    outcome = fit(part, run.model, CrossEntropy(), run.training, seed=run.seed, progress=False)
    seconds = time.process_time() - start
    early = slice(0, max(1, run.training.epochs // 2))
    count = len(data.train)
    loss = outcome.ledger.loss[early, :count].float().nanmean(dim=0).nan_to_num(0.0).numpy()
    pseudo = outcome.ledger.pseudo[early, :count].long()
    suggested = torch.mode(pseudo, dim=0).values.clamp_min(0).numpy()
    return Found(
        quality=-loss,
        suggested=suggested,
        seconds=seconds,
        retrained=_test_accuracy(outcome, data),
    )


def retrained(run: Run, data: Data, found: Found) -> float | None:
    """Test accuracy in percent of standard training on what a contestant left."""
    if found.labels is None or found.kept is None:
        return found.retrained
    labels = torch.from_numpy(found.labels).long()
    rows = np.flatnonzero(found.kept)
    part = _part(replace(data.train, labels=labels), rows)
    made = replace(data, train=_joined(part, data.clean), test=None)
    training = replace(run.training, batch=min(run.training.batch, len(made.train)))
    outcome = fit(made, run.model, CrossEntropy(), training, seed=run.seed, progress=False)
    return _test_accuracy(outcome, data)


def _test_accuracy(outcome: Outcome, data: Data) -> float | None:
    """In percent, of the network as it is."""
    if data.test is None:
        return None
    return 100 * evaluate(outcome.learner.predict, data.test, data)["accuracy"]


def one(name: str, seed: int) -> list[dict[str, Any]]:
    """Every contestant on one case with one seed."""
    run = CASES[name].run(seed)
    data = run.prepare()
    true = data.train.true
    if true is None:
        raise ValueError(f"{name} has no known truth.")
    contestants: dict[str, Callable[[Run, Data], Found]] = {
        "cleanlab, 5 folds": cross_validated,
        "small loss": small_loss,
    }
    found = bootstrapped(run, data) | {n: call(run, data) for n, call in contestants.items()}
    observed, right = data.train.labels.numpy(), true.numpy()
    wrong = observed != right
    return [
        {
            "set": name, "seed": seed, "contestant": contestant, "seconds": made.seconds,
            "auroc": 100 * roc_auc_score(wrong, -made.quality),
            "average_precision": 100 * average_precision_score(wrong, -made.quality),
            **_audit_figures(made, observed, right),
            "retrained": retrained(run, data, made),
        }
        for contestant, made in found.items()
    ]  # fmt: skip


def _audit_figures(made: Found, observed: np.ndarray, right: np.ndarray) -> dict[str, float | None]:
    """How good suggestions are, and how close what the page promises is to the truth."""
    wrong = observed != right
    suspect = made.suggested != observed
    changed = (made.suggested == right)[suspect]
    figures: dict[str, float | None] = {
        "suggestions_right": 100 * float(changed.mean()) if len(changed) else None,
        "noise_rate": 100 * float(wrong.mean()),
        "dropped": 100 * (1 - float(made.kept.mean())) if made.kept is not None else 0.0,
        "suspects": 100 * float(suspect.mean()),
    }
    flagged = made.quality < 0.5
    if made.quality.min() >= 0 and flagged.any():
        promised = wrong_probability(made.quality[flagged]).mean()
        figures |= {
            "promised": 100 * float(promised),
            "precision": 100 * float(wrong[flagged].mean()),
        }
    return figures


def _part(pool: Pool, rows: np.ndarray) -> Pool:
    true = None if pool.true is None else pool.true[rows]
    return Pool(
        inputs=pool.inputs[rows], labels=pool.labels[rows], index=pool.index[rows], true=true
    )


def _joined(first: Pool, second: Pool) -> Pool:
    return Pool(
        inputs=torch.cat([first.inputs, second.inputs]),
        labels=torch.cat([first.labels, second.labels]),
        index=torch.cat([first.index, second.index]),
        true=None,
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds, as Markdown."""
    names = ("auroc", "average_precision", "suggestions_right", "suspects", "promised",
             "precision", "dropped", "retrained", "seconds")  # fmt: skip
    lines = ["| set | contestant | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for key in dict.fromkeys((r["set"], r["contestant"]) for r in rows):
        chosen = [r for r in rows if (r["set"], r["contestant"]) == key]
        cells = [spread([r[name] for r in chosen if r.get(name) is not None]) for name in names]
        lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the cases one after the other, print the table, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", choices=sorted(CASES), default=list(DIGITS))
    parser.add_argument("--out", type=Path, default=RESULTS / "detection.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.sets:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            described = provenance()
            rows += [row | {"commit": described["commit"]} for row in one(name, seed)]
            write_json(options.out, {**described, "rows": rows})
        print(table([r for r in rows if r["set"] == name]), flush=True)


if __name__ == "__main__":
    main()
