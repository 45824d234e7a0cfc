"""Any sequence of events, live and stale claims alike: both ledgers agree, and their invariants hold at every step."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.domain.campaign import (
    Campaign,
    CampaignSpec,
    CheckpointRecord,
    Claim,
    Outcome,
    Progress,
    SlotState,
    SlotView,
    TierPlan,
    WorkerIdentity,
)
from hpo.domain.errors import LeaseLost, UsageError
from hpo.domain.ledger_invariants import invariants
from hpo.domain.ports import Ledger
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger

LEASE = timedelta(hours=1)
MOMENT = timedelta(milliseconds=1)
EXPECTED = (LeaseLost, UsageError, ValueError)
MAX_BUDGET = 8


@dataclass(frozen=True)
class Both:
    """The same thing in the memory ledger and in Postgres: ids differ, everything else must not."""

    memory: Any
    postgres: Any


class LedgerMachine(RuleBasedStateMachine):
    """Drives both ledgers with the same calls; `database` is filled in by the test."""

    database: ClassVar[PostgresLedger]

    claims = Bundle("claims")
    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.ledgers = Both(MemoryLedger(self.clock), self.database)
        self.finished: dict[int, SlotView] = {}
        self.fences: dict[int, int] = {}
        self.num_processes = 0

    def both(self, call: Callable[[Ledger, str], object]) -> tuple[object, object]:
        """The two answers; what one ledger refuses, the other must refuse in the same words."""
        answers = []
        for side in ("memory", "postgres"):
            try:
                answers.append(call(getattr(self.ledgers, side), side))
            except EXPECTED as error:
                answers.append((type(error), str(error)))
        return answers[0], answers[1]

    def same(self, call: Callable[[Ledger, str], object]) -> object:
        memory, postgres = self.both(call)
        assert memory == postgres
        return memory

    def id_of(self, side: str) -> int:
        return int(getattr(self.campaign, side))

    @initialize(sizes=st.lists(st.integers(0, 2), min_size=1, max_size=3), target=workers)
    def open(self, sizes: list[int]) -> Both:
        tiers = tuple(TierPlan(number, f"tier-{number}", size) for number, size in enumerate(sizes, 1))
        self.spec = CampaignSpec(uuid.uuid4().hex, {}, {}, tiers, 0)
        self.campaign = Both(*(getattr(self.ledgers, s).open_campaign(self.spec).id for s in ("memory", "postgres")))
        return self.new_worker()

    @rule(target=workers)
    def start_worker(self) -> Both:
        return self.new_worker()

    def new_worker(self) -> Both:
        self.num_processes += 1
        identity = WorkerIdentity("host", self.num_processes, 0.5)
        return Both(*self.both(lambda ledger, side: ledger.register_worker(self.id_of(side), identity)))

    @rule(worker=workers, target=claims)
    def claim(self, worker: Both) -> Any:
        memory, postgres = self.both(lambda ledger, side: ledger.claim(self.id_of(side), getattr(worker, side), LEASE))
        if memory is None:
            assert postgres is None
            return multiple()
        assert isinstance(memory, Claim)
        assert isinstance(postgres, Claim)
        assert replace(postgres, campaign_id=memory.campaign_id, worker_id=memory.worker_id) == memory
        assert memory.fence > self.fences.get(memory.slot, 0)
        self.fences[memory.slot] = memory.fence
        return Both(memory, postgres)

    @rule(claim=claims, epoch=st.integers(0, 9))
    def renew(self, claim: Both, epoch: int) -> None:
        self.same(lambda ledger, side: ledger.renew(getattr(claim, side), LEASE, Progress(epoch, epoch / 10)))

    @rule(claim=claims)
    def let_expire(self, claim: Both) -> None:
        self.same(lambda ledger, side: ledger.renew(getattr(claim, side), timedelta()))
        self.clock.advance(MOMENT)
        time.sleep(MOMENT.total_seconds())

    @rule(claim=claims, worker=workers, target=claims)
    def take_over(self, claim: Both, worker: Both) -> Any:
        """What a silent worker's slot goes through; left to chance it would be rare."""
        self.let_expire(claim)
        return self.claim(worker)

    @rule(claim=claims, trial=st.integers(0, 3))
    def bind(self, claim: Both, trial: int) -> None:
        self.same(lambda ledger, side: ledger.bind_trial(getattr(claim, side), trial, f"/runs/{trial}"))

    @rule(claim=claims, outcome=st.sampled_from(Outcome), score=st.none() | st.floats(-1, 1))
    def finish(self, claim: Both, outcome: Outcome, score: float | None) -> None:
        self.same(lambda ledger, side: ledger.finish(getattr(claim, side), outcome, score, "why"))

    @rule(claim=claims, crashed=st.booleans())
    def release(self, claim: Both, crashed: bool) -> None:
        self.same(lambda ledger, side: ledger.release(getattr(claim, side), crashed=crashed))

    @rule(claim=claims, epoch=st.integers(0, 3))
    def pause(self, claim: Both, epoch: int) -> None:
        self.same(lambda ledger, side: ledger.pause(getattr(claim, side), epoch))

    @rule(claim=claims, trial=st.integers(0, 3), epoch=st.integers(1, 3))
    def bind_and_pause(self, claim: Both, trial: int, epoch: int) -> None:
        """What a pause needs; left to chance it would be rare."""
        self.bind(claim, trial)
        self.pause(claim, epoch)

    @rule(claim=claims, kind=st.sampled_from(["model", "result", "snapshot"]), epoch=st.integers(0, 9))
    def save(self, claim: Both, kind: str, epoch: int) -> None:
        record = CheckpointRecord(claim.memory.slot, kind, epoch, "runs/x.pt", "host", "/home", f"{epoch}" * 64)
        self.same(lambda ledger, side: ledger.record_checkpoint(getattr(claim, side), record))

    @rule(claim=claims)
    def check(self, claim: Both) -> None:
        self.same(lambda ledger, side: ledger.check(getattr(claim, side)))

    @rule(dead=st.sets(st.integers(1, 6)))
    def recover(self, dead: set[int]) -> None:
        self.same(lambda ledger, side: ledger.expire_dead(self.id_of(side), lambda worker: worker.pid in dead))

    @rule(slots=st.sets(st.integers(1, MAX_BUDGET), max_size=2))
    def retry(self, slots: set[int]) -> None:
        answer = self.same(lambda ledger, side: ledger.retry(self.id_of(side), slots).decisions)
        if not isinstance(answer, tuple):
            for slot in slots:
                self.finished.pop(slot, None)

    @rule(tier=st.integers(1, 3), word=st.text(max_size=3))
    def decide(self, tier: int, word: str) -> None:
        memory, postgres = self.both(
            lambda ledger, side: dict(ledger.decide_tier(self.id_of(side), tier, {"word": word}))
        )
        # An unknown tier is refused with the campaign's own id in the sentence.
        assert memory == postgres or (isinstance(memory, tuple) and isinstance(postgres, tuple))

    @rule(budget=st.integers(1, MAX_BUDGET))
    def raise_budget(self, budget: int) -> None:
        self.same(lambda ledger, side: ledger.raise_budget(self.id_of(side), budget).spec.budget)

    @rule(slot=st.integers(1, MAX_BUDGET))
    def complete(self, slot: int) -> None:
        self.same(lambda ledger, side: ledger.complete_campaign(self.id_of(side), {"slot": slot}).champion)

    @invariant()
    def nothing_is_broken(self) -> None:
        for side in ("memory", "postgres"):
            assert invariants(getattr(self.ledgers, side), self.id_of(side)) == []

    @invariant()
    def both_ledgers_hold_the_same(self) -> None:
        self.same(lambda ledger, side: [_timeless(slot) for slot in ledger.slots(self.id_of(side))])
        self.same(lambda ledger, side: list(ledger.checkpoints(self.id_of(side))))
        self.same(lambda ledger, side: replace(_found(ledger, self.spec.name), id=0, created_at=None))

    @invariant()
    def what_is_done_stays(self) -> None:
        for slot in self.ledgers.postgres.slots(self.campaign.postgres):
            if slot.slot in self.finished or slot.state is SlotState.DONE:
                assert self.finished.setdefault(slot.slot, slot) == slot


def _found(ledger: Ledger, name: str) -> Campaign:
    campaign = ledger.find_campaign(name)
    assert campaign is not None
    return campaign


def _timeless(slot: SlotView) -> SlotView:
    """Without the times, whose presence the invariants already tie to the state."""
    return replace(slot, started_at=None, finished_at=None, lease_expires_at=None)


@pytest.fixture
def database(ledger_database_url: str) -> Iterator[PostgresLedger]:
    ledger = PostgresLedger(ledger_database_url)
    yield ledger
    ledger.close()


def test_both_ledgers_survive_any_sequence(database: PostgresLedger) -> None:
    LedgerMachine.database = database
    run_machine(
        LedgerMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,  # a shared machine's database is now and then slow
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
