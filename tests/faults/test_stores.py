"""The database is restarted or killed, checkpoints are damaged, workers start at once and live in other time zones."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.arena import Arena, until
from support.victim import Fault

from hpo.adapters.database import prepare
from hpo.adapters.embedded_postgres import EmbeddedPostgres
from hpo.domain import SlotState

NUM_TRIALS = 6


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that may be restarted without harm to other tests."""
    home = Path(tempfile.mkdtemp(prefix="tiertune-tests-"))
    home.chmod(0o755)
    server = EmbeddedPostgres(home)
    try:
        server.acquire()
        prepare(server.url)
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)


def restart(server: EmbeddedPostgres, seconds: float) -> None:
    server.stop()
    time.sleep(seconds)
    server.acquire()


def crash(server: EmbeddedPostgres, seconds: float) -> None:
    """One of the server's own processes is killed: it ends every session, replays its log and starts anew."""
    postmaster = psutil.Process(int((server._places().data / "postmaster.pid").read_text().splitlines()[0]))
    next(child for child in postmaster.children() if "checkpointer" in " ".join(child.cmdline())).kill()
    time.sleep(seconds)


@pytest.mark.slow_faults
@pytest.mark.parametrize(
    ("blow", "seconds", "times"),
    [
        pytest.param(restart, 2.0, 3, id="restart-2s"),
        pytest.param(crash, 0.5, 3, id="crash"),
        pytest.param(restart, 30.0, 1, id="restart-30s"),
    ],
)
def test_workers_wait_for_a_database_that_is_away(
    arena: Arena,
    own_server: EmbeddedPostgres,
    tmp_path: Path,
    blow: Callable[[EmbeddedPostgres, float], None],
    seconds: float,
    times: int,
) -> None:
    calm = arena.calm(NUM_TRIALS)
    local = Arena(own_server.url, tmp_path, arena.table)
    name = f"{blow.__name__}-{seconds:.0f}"
    plan = local.plan(name, NUM_TRIALS, pace=0.2)
    worker = local.start(plan)
    for number in range(times):
        until(lambda number=number: plan.log.exists() and len(plan.log.read_text().splitlines()) > 4 + 6 * number)
        blow(own_server, seconds)
        local.note_strike(name, blow.__name__)
    worker.join(120)

    assert worker.exitcode == 0, local.complaints(name)
    begun = plan.log.read_text().splitlines()
    assert len(begun) == len(set(begun)), "an epoch was trained twice"
    local.score(name, Fault(f"{seconds:.0f} s, amid trials", blow.__name__), "database")
    assert local.history(name) == calm
    local.close()


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


def test_workers_that_start_at_once_in_different_time_zones_make_one_campaign(arena: Arena) -> None:
    name = "at-once"
    zones = ("Asia/Tokyo", "America/Los_Angeles", "UTC")
    plans = [arena.plan(name, 12, zone=zone, lease=1.0, pace=0.05) for zone in zones]
    workers = [arena.start(plan) for plan in plans]
    for worker in workers:
        worker.join(120)

    assert [worker.exitcode for worker in workers] == [0, 0, 0], arena.complaints(name)
    begun = plans[0].log.read_text().splitlines()
    assert len(begun) == len(set(begun)), "an epoch was trained twice: somebody's lease was taken for dead"
    assert len(arena.trials(name)) == 12
    assert arena.examine(name) == []


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
