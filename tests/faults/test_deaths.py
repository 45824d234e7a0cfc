"""Workers that are killed, drained, cut off or put to sleep at every named point of a trial's life.

The harness bites. Tried by hand: with fencing switched off (`held` in `hpo/adapters/ledger/statements.py` true of any
fence and state), a sleeper writes to the ledger after it wakes, and the tests of sleepers go red. With a claim that is
not atomic (one statement reads slot and fence, a second writes them, without a lock), two workers train the same slot,
and `test_many_workers_share_a_budget_exactly` goes red, as do the contract's `test_no_slot_is_claimed_twice` and
`test_an_expired_slot_goes_to_one_worker`. With only the claim's row lock removed everything stays green: the fence
alone keeps two owners apart.
"""

from __future__ import annotations

import signal
import time

import pytest
from support.arena import Arena, wait_until_stopped
from support.plans import Fault
from support.victim import POINTS

NUM_TRIALS = 6
LEASE = 1.0
"""Seconds; for those who sleep longer."""
HANDOVER = ("after study creation", "between copies", "before study is ready")
DECISIONS = ("before tier decision", "after tier decision")
CHAMPION = ("before champion", "after champion")
FAST = ("after trial creation", "amid checkpoint", "between report and verdict", "after tell, before done")
"""Points whose KILL is part of every test run; all others belong to the whole matrix."""


def strikes(point: str, action: str) -> list[Fault]:
    """The accidents of one campaign, each further along than the one before, or at the same place again."""
    if point in CHAMPION:
        return [Fault(point, action)]
    if point in HANDOVER or point in DECISIONS:
        return [Fault(point, action, nth) for nth in (1, 1, 2)]
    if point in ("amid epoch", "amid checkpoint", "between report and verdict", "between renewal and report"):
        return [Fault(point, action, nth) for nth in (2, 9, 4, 7)]
    return [Fault(point, action, nth) for nth in (1, 2, 2)]


def cases() -> list[object]:
    found = []
    for action in ("KILL", "TERM", "INT", "DROP"):
        for point in POINTS:
            fast = action == "KILL" and point in FAST
            marks = () if fast else (pytest.mark.slow_faults,)
            found.append(pytest.param(action, point, marks=marks, id=f"{action}-{point}"))
    return found


@pytest.mark.parametrize(("action", "point"), cases())
def test_a_worker_that_meets_with_an_accident_loses_and_repeats_nothing(arena: Arena, action: str, point: str) -> None:
    name = f"{action}-{point}".replace(" ", "-").replace(",", "")
    faults = strikes(point, action)
    for fault in faults:
        code = arena.suffer(arena.plan(name, NUM_TRIALS, fault))
        expected = (-signal.SIGKILL, 0) if action == "KILL" else (0,)
        assert code in expected, arena.complaints(name)
    arena.recover(arena.plan(name, NUM_TRIALS))

    arena.score(name, faults[0], "worker")
    assert arena.history(name) == arena.calm(NUM_TRIALS)


def sleepers() -> list[object]:
    points = [point for point in POINTS if point not in (*CHAMPION, *DECISIONS, *HANDOVER, "after done")]
    fast = ("between renewal and report", "after trial creation")
    return [pytest.param(p, id=p, marks=() if p in fast else (pytest.mark.slow_faults,)) for p in points]


@pytest.mark.parametrize("point", sleepers())
def test_a_worker_that_sleeps_longer_than_its_lease_has_lost_its_slot_and_writes_nothing(
    arena: Arena, point: str
) -> None:
    name = f"STOP-{point}".replace(" ", "-").replace(",", "")
    nth = 1 if point == "after claim" else 2
    fault = Fault(point, "STOP", nth)
    sleeper = arena.start(arena.plan(name, NUM_TRIALS, fault, lease=LEASE))
    asleep = wait_until_stopped(sleeper.pid)
    assert asleep, "the point was not reached"
    time.sleep(1.2 * LEASE)
    arena.recover(arena.plan(name, NUM_TRIALS))
    before, files = arena.records(name), later_files(arena, name)

    asleep.resume()
    sleeper.join(60)

    assert sleeper.exitcode == 0, arena.complaints(name)
    assert arena.records(name) == before, "it wrote to the ledger or to Optuna"
    assert arena.history(name) == arena.calm(NUM_TRIALS)
    assert later_files(arena, name) == files, "it wrote into a folder that is not its own"
    arena.score(name, fault, "worker")


@pytest.mark.slow_faults
@pytest.mark.parametrize("point", [*HANDOVER, *DECISIONS, *CHAMPION])
def test_who_sleeps_at_a_common_task_delays_it_and_spoils_nothing(arena: Arena, point: str) -> None:
    """Some of these points lie under a lock, at which the others wait until the sleeper is back."""
    name = f"STOP-{point}".replace(" ", "-")
    fault = Fault(point, "STOP")
    sleeper = arena.start(arena.plan(name, NUM_TRIALS, fault, lease=LEASE))
    asleep = wait_until_stopped(sleeper.pid)
    assert asleep, "the point was not reached"
    other = arena.start(arena.plan(name, NUM_TRIALS, lease=LEASE))
    other.join(3 * LEASE)
    asleep.resume()
    for worker in (sleeper, other):
        worker.join(60)
        assert worker.exitcode == 0, arena.complaints(name)

    arena.score(name, fault, "worker")


def later_files(arena: Arena, name: str) -> dict[str, bytes]:
    """The content of every run folder that is not the first of its slot."""
    runs = arena.home / "runs" / name
    return {
        str(path.relative_to(runs)): path.read_bytes()
        for path in sorted(runs.glob("slot-*/attempt-*/**/*"))
        if path.is_file() and "attempt-1" not in path.parts
    }
