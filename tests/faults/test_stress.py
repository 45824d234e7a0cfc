"""Many workers on one campaign and one database: the budget is exact, nobody proposes twice, nobody starves."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from support.arena import Arena, until
from support.plans import Plan
from support.pooler import PROGRAM, pgbouncer

from hpo.adapters.postgres.database import engine_for
from hpo.adapters.postgres.pooling import settled
from hpo.engine.tiers import SLOT, VALUES

MAX_CONNECTIONS = 3
"""Per worker: the ledger's for the worker and for its lease, and Optuna's."""
SESSIONS = 20
COUNT = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tiertune-%'"
)


@pytest.mark.parametrize(
    ("num_workers", "num_trials", "round_"),
    [
        pytest.param(4, 60, 1, id="4x60"),
        *(pytest.param(16, 400, n, id=f"16x400-{n}", marks=pytest.mark.slow_faults) for n in (1, 2, 3)),
    ],
)
def test_many_workers_share_a_budget_exactly(arena: Arena, num_workers: int, num_trials: int, round_: int) -> None:
    name = f"stress-{num_workers}-{num_trials}-{round_}"
    plan = arena.plan(name, num_trials, num_epochs=2)
    own = num_connections(arena)
    started = time.monotonic()
    workers = [arena.start(plan) for _ in range(num_workers)]
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, num_connections(arena) - own)
        time.sleep(0.1)
        return not any(worker.is_alive() for worker in workers)

    until(all_ended, seconds=1200)
    seconds = time.monotonic() - started

    assert [worker.exitcode for worker in workers] == [0] * num_workers, arena.complaints(name)
    shares = check(arena, plan, num_workers)
    arena.notes.append(
        f"{num_workers} workers, {num_trials} trials: {seconds:.0f} s, at most {most} connections, "
        f"{shares[0]} trials by the idlest worker and {shares[-1]} by the busiest"
    )
    assert most <= MAX_CONNECTIONS * num_workers


@pytest.mark.slow_faults
@pytest.mark.pooler
@pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer on this machine")
def test_more_workers_than_sessions_share_a_budget_exactly(arena: Arena, tmp_path: Path) -> None:
    """Behind PgBouncer in transaction mode, twenty sessions for all of them, two trials for each."""
    num_workers = 32
    name, num_trials = f"crowd-{num_workers}", 2 * num_workers
    with pgbouncer(arena.url, sessions=SESSIONS) as url:
        crowd = Arena(settled(url), tmp_path, arena.table)
        plan = crowd.plan(name, num_trials, num_epochs=2, sampler="random", lease=600.0)
        started = time.monotonic()
        workers = [crowd.start(plan) for _ in range(num_workers)]
        until(lambda: not any(worker.is_alive() for worker in workers), seconds=3000)
        seconds = time.monotonic() - started
        assert [worker.exitcode for worker in workers] == [0] * num_workers, crowd.complaints(name)
        crowd.close()
    local = Arena(arena.url, tmp_path, arena.table)
    trials = local.trials(name)
    begun = plan.log.read_text().splitlines()
    assert [trial.user_attrs[SLOT] for trial in trials] == list(range(1, num_trials + 1))
    assert all(trial.state.is_finished() for trial in trials)
    assert len(begun) == len(set(begun)), "an epoch was trained twice"
    assert local.examine(name) == []
    local.close()
    arena.notes.append(f"{num_workers} workers behind {SESSIONS} sessions, {num_trials} trials: {seconds:.0f} s")


def check(arena: Arena, plan: Plan, num_workers: int) -> list[int]:
    """Trials per worker, ascending."""
    trials = arena.trials(plan.name)
    assert len(trials) == plan.num_trials
    assert all(trial.state.is_finished() for trial in trials)
    configurations = [repr(sorted(trial.user_attrs[VALUES].items())) for trial in trials]
    assert len(set(configurations)) == plan.num_trials, "a configuration was proposed twice"
    begun = (plan.log).read_text().splitlines()
    assert len(begun) == len(set(begun)), "an epoch was trained twice"
    assert arena.examine(plan.name) == []
    campaign = arena.ledger.find_campaign(plan.name)
    assert campaign is not None
    shares = Counter(slot.worker for slot in arena.ledger.slots(campaign.id))
    assert len(shares) == num_workers, f"somebody starved: {shares}"
    return sorted(shares.values())


def num_connections(arena: Arena) -> int:
    engine = engine_for(arena.url, "observer")
    try:
        with engine.connect() as connection:
            return int(connection.exec_driver_sql(COUNT.replace("%", "%%")).scalar_one())
    finally:
        engine.dispose()
