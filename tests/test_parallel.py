"""Trainings of the automatic choice side by side, in processes of their own."""

import math
import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from joblib import Parallel, cpu_count, delayed
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from torch import nn

from l2b.estimation import selection
from l2b.estimation.learn import Plan
from l2b.estimation.parallel import each, processes, together
from l2b.estimation.selection import Contest, _affordable
from l2b.estimator import L2BClassifier
from l2b.models.mlp import Mlp
from l2b.notices import Notice, notice
from l2b.train import Training

COSTS = st.lists(st.floats(0, 1e6), max_size=10)


def asleep(number, seconds):
    """Work that takes its time."""
    time.sleep(seconds)
    return number


def problem():
    """Digits of which 40 % have a random label, and the first 60 a right one."""
    x, y = load_digits(return_X_y=True)
    x, y = x[:400], y[:400]
    draw = np.random.default_rng(0)
    given = np.where(draw.random(len(y)) < 0.4, draw.integers(0, 10, len(y)), y)
    given[:60] = y[:60]
    return x, given, np.arange(60)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_found_comes_in_the_order_of_the_tasks(jobs):
    tasks = [(0, 0.5), (1, 0.0), (2, 0.1)]
    assert list(each(asleep, tasks, jobs)) == [0, 1, 2]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_is_asked_for_when_there_is_room(jobs):
    begun, ended = [], []

    def tasks():
        for number in range(5):
            begun.append(len(ended))
            yield number, 0.2

    for number in each(asleep, tasks(), jobs):
        ended.append(number)
    assert ended == list(range(5))
    assert all(done >= number - 2 * jobs + 1 for number, done in enumerate(begun))
    assert begun[-1] > 0


def test_tasks_end_for_want_of_time():
    end = time.perf_counter() + 0.3

    def tasks():
        number = 0
        while time.perf_counter() < end:
            yield number, 0.2
            number += 1

    found = list(each(asleep, tasks(), 2))
    assert found == list(range(len(found))) and 2 <= len(found) <= 6


@given(COSTS, st.integers(1, 40))
def test_how_long_trainings_take_side_by_side(costs, jobs):
    found = together(costs, jobs)
    assert max(costs, default=0) <= found <= math.fsum(costs) + 1e-6
    assert found >= math.fsum(costs) / jobs - 1e-6
    assert together(costs, 1) == pytest.approx(math.fsum(costs))


def test_each_waits_for_the_first_that_has_ended():
    assert together([3.0, 3.0, 3.0], 2) == 6
    assert together([4.0, 1.0, 1.0, 1.0, 1.0], 2) == 4


def test_jobs_are_processes_on_a_cpu_alone(monkeypatch):
    assert processes(None, 8, cpu=True) == processes(1, 8, cpu=True) == 1
    assert processes(3, 8, cpu=True) == 3
    assert processes(100, 8, cpu=True) == 8
    assert processes(-1, 10**6, cpu=True) == cpu_count()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes(3, 8, cpu=True) == 1
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert processes(3, 8, cpu=False) == 1
    assert processes(3, 8, cpu=True) == 3


def test_all_cores_are_not_asked_for_by_each_of_several_processes():
    asked = Parallel(n_jobs=2)(delayed(processes)(n, 8, cpu=True) for n in (-1, 2))
    assert asked[0] == 1


def plan(jobs):
    """Of trainings that are never begun."""
    return Plan(
        model=Mlp(), training=Training(threads=None), validation=0.0, progress=True, jobs=jobs
    )


def test_processes_have_one_thread_and_no_bars_of_their_own(monkeypatch):
    plans = []
    monkeypatch.setattr(selection, "learn", lambda given, method, plan, seed: plans.append(plan))
    for jobs in (1, 2):
        selection._trained(None, None, plan(jobs), 0)
    alone, beside = plans
    assert (alone.training.threads, alone.progress) == (None, True)
    assert (beside.training.threads, beside.progress) == (1, False)


def test_time_is_reckoned_side_by_side():
    cost = {"clean_only": 2.0, "l2b": 2.0, "elr": 2.0, "mixup": 2.0}
    assert _affordable(list(cost), cost, 4.0, 1) == ["clean_only", "l2b"]
    assert _affordable(list(cost), cost, 4.0, 2) == list(cost)
    for jobs, seconds in ((1, 8.0), (2, 4.0), (8, 2.0)):
        contest = Contest(None, plan(jobs), 0)
        contest.cost = dict(cost)
        assert contest.round_cost == seconds


@pytest.mark.parametrize(("jobs", "again"), [(1, 2), (2, 4)])
def test_another_round_takes_as_many_as_fit_side_by_side(jobs, again):
    names = ["clean_only", "l2b", "fine_tune", "elr", "mixup"]
    given = SimpleNamespace(y_clean=torch.zeros(3, dtype=torch.long), tags=())
    contest = Contest(given, plan(jobs), 0)
    contest.cost = dict.fromkeys(names, 2.0)
    contest.judged = [torch.arange(3)]
    contest.p = {name: [torch.tensor([[0.9, 0.1]] * 3)] for name in names}
    assert len(contest.next_round(contest.spent + 2.0 + 2 * 4.5)) == again


def noticed(number):
    """Work that has something to say."""
    notice(f"Number {number}.")
    return number


def test_notices_of_processes_reach_the_user():
    with pytest.warns(Notice, match=r"Number 1\."):
        assert list(each(noticed, [(1,)], 2)) == [1]


def test_what_cannot_come_back_is_refused():
    with pytest.raises(ValueError, match=r"cannot be sent to them and back: set n_jobs=1"):
        list(each(threading.Lock, [()], 2))


def test_processes_find_what_one_finds():
    x, y, clean = problem()
    settings = {"epochs": 3, "random_state": 0, "time_budget": 1e6}
    one = L2BClassifier(**settings, n_jobs=1).fit(x, y, clean=clean)
    two = L2BClassifier(**settings, n_jobs=2, verbose=2).fit(x, y, clean=clean)
    np.testing.assert_array_equal(one.predict_proba(x), two.predict_proba(x))
    np.testing.assert_array_equal(one.label_quality_, two.label_quality_)
    assert one.comparison_.members == two.comparison_.members
    assert one.comparison_.accuracy == two.comparison_.accuracy
    assert one.history_ == two.history_


def test_a_hurried_choice_leaves_out_what_does_not_fit():
    x, y, clean = problem()
    model = L2BClassifier(epochs=2, n_jobs=2, time_budget=0.1, random_state=0)
    found = model.fit(x, y, clean=clean).comparison_
    assert {"clean_only", "l2b"} <= set(found.correct) and found.folds == 1
    assert found.left_out


def test_mistakes_are_told_as_in_one_process():
    x, y, clean = problem()

    def model(shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], classes + 1))

    with pytest.raises(ValueError, match="model must give 10 logits"):
        L2BClassifier(model, epochs=2, n_jobs=2).fit(x, y, clean=clean)


def test_what_cannot_be_sent_is_refused():
    x, y, clean = problem()
    lock = threading.Lock()

    def model(shape, classes):
        with lock:
            return nn.Linear(shape[0], classes)

    with pytest.raises(ValueError, match=r"n_jobs trains in 2 processes, .* back: set n_jobs=1"):
        L2BClassifier(model, epochs=2, n_jobs=2).fit(x, y, clean=clean)


def test_a_killed_process_is_told():
    with pytest.raises(RuntimeError, match=r"One of the 2 processes .* want of memory"):
        list(each(os._exit, [(1,), (1,)], 2))


def test_within_the_processes_of_scikit_learn():
    x, y, _ = problem()
    checked = np.arange(len(y)) % 4 == 0
    settings = {"epochs": 2, "random_state": 0, "time_budget": 1e6}
    found = [
        cross_val_score(
            L2BClassifier(**settings, n_jobs=inner), x, y, cv=2, n_jobs=outer,
            params={"clean": checked},
        ).tolist()
        for inner, outer in ((2, 2), (1, 1))
    ]  # fmt: skip
    assert found[0] == found[1]
