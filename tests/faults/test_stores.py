"""Checkpoints are damaged, workers start at once, live in other time zones, have wrong clocks, and die in heaps."""

from __future__ import annotations

import psutil
import pytest
from support.arena import Arena, until
from support.plans import Fault

from hpo.domain.campaign import SlotState

NUM_TRIALS = 6


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_costs_one_epoch(arena: Arena, damage: str) -> None:
    name = f"damage-{damage}"
    fault = Fault("between report and verdict", "KILL", 9)
    arena.suffer(arena.plan(name, NUM_TRIALS, fault))
    campaign = arena.ledger.find_campaign(name)
    assert campaign is not None
    running = next(slot.slot for slot in arena.ledger.slots(campaign.id) if slot.state is SlotState.RUNNING)
    last = max((arena.home / "runs" / name / f"slot-{running:04d}").glob("attempt-*/last.pt"))
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else whole[:-1] + bytes([whole[-1] ^ 1]))

    arena.recover(arena.plan(name, NUM_TRIALS))

    arena.score(name, Fault(f"checkpoint {damage}", "KILL"), "worker")
    assert arena.history(name) == arena.calm(NUM_TRIALS)


def test_workers_that_start_at_once_with_clocks_an_hour_apart_make_one_campaign(arena: Arena) -> None:
    """Their time zones differ too. Leases are short: a clock that counted would take them for run out at once."""
    name = "at-once"
    clocks = (("Asia/Tokyo", 3600.0), ("America/Los_Angeles", -3600.0), ("UTC", 0.0))
    plans = [arena.plan(name, 12, zone=zone, skew=skew, lease=2.0, pace=0.1) for zone, skew in clocks]
    workers = [arena.start(plan) for plan in plans]
    for worker in workers:
        arena.note_strike(name, "clock")
        worker.join(120)

    assert [worker.exitcode for worker in workers] == [0, 0, 0], arena.complaints(name)
    begun = plans[0].log.read_text().splitlines()
    assert len(begun) == len(set(begun)), "an epoch was trained twice: somebody's lease was taken for dead"
    assert {slot.fence for slot in arena.slots(name)} == {1}
    arena.score(name, Fault("an hour off, other time zone", "clock"), "3 workers")
    assert len(arena.trials(name)) == 12


@pytest.mark.slow_faults
def test_half_the_workers_are_killed_again_and_again(arena: Arena) -> None:
    name = "massacre"
    plan = arena.plan(name, 40, pace=0.02)
    workers = [arena.start(plan) for _ in range(4)]
    for number in range(20):
        until(lambda number=number: plan.log.exists() and len(plan.log.read_text().splitlines()) > 4 * number)
        victim = workers[number % 4]
        if victim.is_alive():
            psutil.Process(victim.pid).kill()
            victim.join()
            arena.note_strike(name, "KILL")
        workers[number % 4] = arena.start(plan)
    for worker in workers:
        worker.join(120)
    arena.recover(plan)

    assert len(arena.trials(name)) == 40
    arena.score(name, Fault("any moment", "KILL"), "4 workers")
