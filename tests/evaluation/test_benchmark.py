import functools
import multiprocessing
import operator
import os
import textwrap
import time
from dataclasses import fields
from importlib import import_module

import numpy as np
import pytest

from evaluation import benchmark
from evaluation.benchmark import Failure, Outcome, Run, Trial, run
from evaluation.processes import CannotStart, Died, _Queue, _Worker, carry_out, said
from evaluation.sellers import SELLERS
from evaluation.stage import Market
from markets import Conditions, load_catalogue
from markets.texts import text_vectors

SOUND = {name: SELLERS[name] for name in ("pricebandit", "fixed")}
MARKETS = {
    "cost": Market("cost", conditions=Conditions(days=4), known=60, new=30, warm_days=2),
    "late": Market(
        "text", conditions=Conditions(days=3, prompt=0.5), known=40, new=20, warm_days=1
    ),
}
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def data():
    history = load_catalogue()
    return history, text_vectors(history.listings["title"].to_list())


@pytest.fixture
def raises(tmp_path, monkeypatch):
    """A seller of a module of somebody's own, which raises."""
    (tmp_path / "unsound_sellers.py").write_text(
        textwrap.dedent(
            """
            from evaluation.sellers.fixed import Fixed

            class Raises(Fixed):
                def learn(self, sales):
                    raise ArithmeticError("no such sum")
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    return import_module("unsound_sellers").Raises


@pytest.fixture(scope="module")
def outcome(data):
    """Sound sellers, two at a time."""
    seen = []
    found = run(*data, MARKETS, SOUND, SEEDS, jobs=2, progress=lambda *what: seen.append(what))
    assert [done for _, done, _ in seen] == list(range(1, 9))
    assert {total for _, _, total in seen} == {8}
    return found


def test_every_trial_is_held_in_order(outcome: Outcome):
    expected = [
        Trial(market, seller, seed) for market in MARKETS for seller in SOUND for seed in SEEDS
    ]
    assert [run.trial for run in outcome.runs] == expected
    assert not outcome.failures
    assert not outcome.stopped
    for run_ in outcome.runs:
        assert run_.result.gain.shape == (MARKETS[run_.trial.market].conditions.days,)
        assert len(run_.shown) == run_.result.path.shape[1]
        assert 0.2 < run_.result.share <= 1.0


def test_who_fails_harms_nobody_and_jobs_change_nothing(data, raises, outcome: Outcome):
    market = {"cost": MARKETS["cost"]}
    found = run(*data, market, {"raises": raises, **SOUND}, SEEDS[:1], jobs=1)
    (failure,) = found.failures
    assert failure.trial == Trial("cost", "raises", 1)
    assert failure.error == "ArithmeticError: no such sum"
    assert "unsound_sellers.py" in failure.trace
    assert len(found.runs) == 2
    for run_ in found.runs:
        assert same(run_, next(r for r in outcome.runs if r.trial == run_.trial))


def test_a_death_is_a_failure_and_an_interrupt_keeps_what_there_is(
    data, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
):
    trials = [run.trial for run in outcome.runs]

    def carried_out(*_: object):
        yield trials[1], outcome.runs[1]
        yield trials[0], Died(7)
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "carry_out", carried_out)
    found = run(*data, MARKETS, SOUND, SEEDS)
    assert found.stopped
    assert found.runs == outcome.runs[1:2]
    assert found.failures == (Failure(trials[0], "the process died (exit status 7)"),)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"markets": {}}, "at least one market"),
        ({"sellers": {}}, "at least one seller"),
        ({"seeds": ()}, "at least one seed"),
        ({"seeds": (1, 1)}, "must differ"),
        ({"seeds": (-1,)}, "at least 0"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"vectors": np.zeros((3, 2), np.float32)}, "3 vectors for 519 listings"),
    ],
)
def test_what_cannot_be_run_is_refused(data, wrong, message):
    asked = {"history": data[0], "vectors": data[1], "markets": MARKETS, "sellers": SOUND}
    with pytest.raises(ValueError, match=message):
        run(**{**asked, "seeds": SEEDS, **wrong})


def same(one: Run, other: Run) -> bool:
    """Whether all but measured times is equal to the last bit."""
    names = [field.name for field in fields(one.result) if field.name != "seconds"]
    pairs = [(getattr(one.result, name), getattr(other.result, name)) for name in names]
    return one.shown == other.shown and all(np.array_equal(a, b) for a, b in pairs)


def test_tasks_are_carried_out_by_processes_that_compute_with_one_thread():
    threads = "__import__('os').environ['OMP_NUM_THREADS']"
    groups = [["2 + 2", threads], ["__import__('os').getpid()"]]
    before = dict(os.environ)
    found = dict(carry_out(functools.partial, (eval,), groups, 2, len))
    assert found["2 + 2"] == 4
    assert found[threads] == "1"
    assert found["__import__('os').getpid()"] != os.getpid()
    assert dict(os.environ) == before


def test_a_process_that_dies_is_replaced():
    tasks = ["__import__('os')._exit(3)", "__import__('os').kill(__import__('os').getpid(), 9)", ""]
    found = list(carry_out(functools.partial, (eval,), [[*tasks[:2], "1"]], 1, len))
    # the longest first
    assert found == [(tasks[1], Died(-9)), (tasks[0], Died(3)), ("1", 1)]
    assert said(-9) == "killed by SIGKILL"
    assert said(3) == "exit status 3"


def test_whoever_closes_the_answers_ends_the_processes():
    asleep = ["__import__('time').sleep(60)", "1"]
    answers = carry_out(functools.partial, (eval,), [[asleep[1]], [asleep[0]]], 2, len)
    assert next(answers) == ("1", 1)
    start = time.monotonic()
    answers.close()
    assert time.monotonic() - start < 30
    assert not multiprocessing.active_children()


def test_a_process_that_cannot_start_ends_it():
    with pytest.raises(CannotStart, match="exit status 5"):
        list(carry_out(os._exit, (5,), [[1.0]], 1, float))


def test_what_cannot_be_sent_is_refused():
    with pytest.raises((AttributeError, TypeError, Exception), match="pickle"):
        list(carry_out(functools.partial, (lambda x: x,), [[1.0]], 1, float))


def test_a_worker_keeps_its_group_then_takes_a_fresh_one_then_helps_with_the_longest():
    queue = _Queue([[3.0, 1.0], [2.0, 9.0, 5.0], [4.0]], weight=operator.pos)
    first, second = _Worker(None, None), _Worker(None, None)
    assert queue.take(first) == 3.0
    assert queue.take(second) == 9.0
    assert queue.take(first) == 1.0
    assert queue.take(first) == 4.0  # its own is done: the group that nobody began
    assert queue.take(first) == 5.0  # none is left that nobody began: the longest
    assert queue.take(second) == 2.0
    assert queue.take(second) is None
