"""Accidents of a trial's own process, and a disk or a memory that gives out: the worker lives on, or says why not."""

from __future__ import annotations

import time

import psutil
import pytest
from support.arena import Arena, family, status, wait_until_stopped
from support.plans import TRIAL, Fault

from hpo.cli import EXIT_ENVIRONMENT
from hpo.domain.campaign import Outcome

NUM_TRIALS = 6
LEASE = 1.0
FAST = ("KILL", "trial, amid checkpoint")
WRITING = ("after claim", "after bind", "after parameters", "between renewal and report", "after tell, before done")
"""Points of a worker that has still to write files."""


def deaths() -> list[object]:
    cases = [(action, point) for action in ("KILL", "TERM", "INT") for point in TRIAL]
    return [
        pytest.param(*case, marks=() if case == FAST else (pytest.mark.slow_faults,), id="-".join(case))
        for case in cases
    ]


def named(action: str, point: str) -> str:
    return f"{action}-{point}".replace(" ", "-").replace(",", "")


@pytest.mark.parametrize(("action", "point"), deaths())
def test_a_trial_that_dies_again_and_again_goes_on_where_it_was(arena: Arena, action: str, point: str) -> None:
    name = named(action, point)
    fault = Fault(point, action, nth=2, times=4)
    arena.survive(arena.plan(name, NUM_TRIALS, fault, own_process=True))

    arena.score(name, fault, "trial")
    assert arena.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.slow_faults
@pytest.mark.parametrize("point", TRIAL)
def test_a_trial_that_sleeps_longer_than_the_lease_keeps_its_slot(arena: Arena, point: str) -> None:
    """Its worker lives and says so; what else should look after a trial that hangs for ever is the time limit."""
    name = named("STOP", point)
    fault = Fault(point, "STOP", nth=2)
    worker = arena.start(arena.plan(name, NUM_TRIALS, fault, own_process=True, lease=LEASE))
    asleep = wait_until_stopped(worker.pid)
    assert asleep, "the point was not reached"
    assert asleep.pid != worker.pid
    time.sleep(3 * LEASE)
    assert not [slot for slot in arena.slots(name) if slot.num_crashes]
    asleep.resume()
    worker.join(60)

    assert worker.exitcode == 0, arena.complaints(name)
    assert {slot.fence for slot in arena.slots(name)} == {1}, "a slot was claimed from a living worker"
    arena.score(name, fault, "trial")
    assert arena.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.slow_faults
@pytest.mark.parametrize("action", ["KILL", "STOP"])
def test_a_worker_that_is_gone_or_asleep_leaves_no_trial_behind(arena: Arena, action: str) -> None:
    name = f"{action}-with-trial"
    fault = Fault("between renewal and report", action, nth=4)
    worker = arena.start(arena.plan(name, NUM_TRIALS, fault, own_process=True, lease=LEASE, pace=0.1))
    below: list[psutil.Process] = []
    while not arena.num_struck(name):
        below = family(worker.pid)[1:] or below
    if action == "STOP":
        time.sleep(1.2 * LEASE)
        arena.recover(arena.plan(name, NUM_TRIALS, own_process=True))
        before = arena.records(name)
        psutil.Process(worker.pid).resume()
        worker.join(60)
        assert worker.exitcode == 0, arena.complaints(name)
        assert arena.records(name) == before, "it wrote to the ledger or to Optuna"
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive, [status(process) for process in alive]
    arena.recover(arena.plan(name, NUM_TRIALS))

    arena.score(name, fault, "worker")
    assert arena.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.slow_faults
@pytest.mark.parametrize("point", [*WRITING, *TRIAL])
def test_a_disk_that_takes_no_more_ends_the_worker_with_a_sentence_and_costs_nothing(arena: Arena, point: str) -> None:
    """The system refuses to let the process's files grow (a limit on their size), as a full disk would. Three times the
    same slot: this is no trial's fault, and never counts as its crash."""
    name = named("FULL", point)
    faults = [Fault(point, "FULL", nth) for nth in (1, 1, 1)]
    for fault in faults:
        code = arena.suffer(arena.plan(name, NUM_TRIALS, fault, own_process=True))
        assert code == EXIT_ENVIRONMENT, arena.complaints(name)
        assert "free" in arena.complaints(name)
    arena.survive(arena.plan(name, NUM_TRIALS, own_process=True))

    arena.score(name, faults[0], "trial" if point in TRIAL else "worker")
    assert not [slot for slot in arena.slots(name) if slot.num_crashes]
    assert arena.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.parametrize(
    ("action", "nth", "times", "reason"), [("KILL", 1, 3, "poison"), ("MEMORY", 2, 1, "out_of_memory")]
)
def test_a_trial_that_cannot_be_trained_fails_with_its_reason_and_the_search_goes_on(
    arena: Arena, action: str, nth: int, times: int, reason: str
) -> None:
    name = reason
    fault = Fault("trial, amid epoch", action, nth=nth, times=times)
    arena.survive(arena.plan(name, NUM_TRIALS, fault, own_process=True))

    first, *others = arena.slots(name)
    assert first.outcome is Outcome.FAILED
    assert str(first.reason).startswith(f"{reason}: ")
    assert not [slot for slot in others if slot.outcome is Outcome.FAILED]
    arena.score(name, Fault(f"{fault.point}, {reason}", action), "trial")
