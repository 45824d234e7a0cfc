"""The database's machine is lost, and its synchronous standby takes over: nothing that was acknowledged is lost."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.arena import Arena, until
from support.plans import Fault
from support.replica import Pair

from hpo.adapters.postgres.database import prepare
from hpo.domain.campaign import SlotState
from hpo.engine.tiers import SLOT

NUM_TRIALS, NUM_WORKERS = 12, 3
AWAY = 5.0
"""Seconds until the standby is promoted."""


@pytest.fixture
def pair() -> Iterator[Pair]:
    home = Path(tempfile.mkdtemp(prefix="tiertune-tests-"))
    home.chmod(0o755)
    servers = Pair(home)
    try:
        servers.replicate()
        yield servers
    finally:
        servers.close()
        shutil.rmtree(home)


@pytest.mark.slow_faults
def test_a_search_goes_on_with_the_standby(arena: Arena, pair: Pair, tmp_path: Path) -> None:
    prepare(pair.url)
    local = Arena(pair.url, tmp_path, arena.table)
    name = "fail-over"
    plan = local.plan(name, NUM_TRIALS, pace=0.2)
    workers = [local.start(plan) for _ in range(NUM_WORKERS)]
    until(lambda: local.ledger.find_campaign(name) is not None)
    until(lambda: sum(slot.state is SlotState.DONE for slot in local.slots(name)) >= 3)
    # What a reader sees has been acknowledged: a commit shows itself once the standby has it.
    acknowledged = [slot for slot in local.slots(name) if slot.state is SlotState.DONE]
    trials = {trial.user_attrs[SLOT]: trial for trial in local.trials(name) if trial.state.is_finished()}

    pair.lose_the_primary()
    lost_at = time.monotonic()
    time.sleep(AWAY)
    pair.promote()
    local.note_strike(name, "LOST")
    after = local.slots(name)
    waited = time.monotonic() - lost_at
    for worker in workers:
        worker.join(120)

    assert [worker.exitcode for worker in workers] == [0] * NUM_WORKERS, local.complaints(name)
    assert [after[slot.slot - 1] for slot in acknowledged] == acknowledged
    now = local.slots(name)
    assert [now[slot.slot - 1] for slot in acknowledged] == acknowledged
    known = {trial.user_attrs[SLOT]: trial for trial in local.trials(name)}
    assert {slot: known[slot] for slot in trials} == trials
    local.score(name, Fault("the database's machine", "LOST"), "database")
    arena.notes.append(
        f"fail-over: {NUM_WORKERS} workers, {NUM_TRIALS} trials, {len(acknowledged)} acknowledged before; "
        f"promoted after {AWAY:.0f} s, answered after {waited:.1f} s; nothing lost, nothing twice"
    )
    local.close()
