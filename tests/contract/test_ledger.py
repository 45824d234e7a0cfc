"""What both ledgers must do: the contract in `hpo.domain.ports.Ledger`, clause by clause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.domain.campaign import (
    CampaignSpec,
    CampaignState,
    CheckpointRecord,
    Claim,
    Outcome,
    Progress,
    SlotState,
    SlotView,
    TierPlan,
    WorkerIdentity,
)
from hpo.domain.errors import LeaseLost, StoreUnavailable, UsageError
from hpo.domain.ledger_invariants import invariants
from hpo.domain.ports import Ledger
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger

LEASE = timedelta(hours=1)
SPEC = CampaignSpec(
    name="alpha",
    config={"trials": 5, "lr": 1e-5, "nested": {"z": [1, 2.0], "a": None}},
    fingerprints={"space": "ab", "data": "cd"},
    tiers=(TierPlan(1, "capacity", 2), TierPlan(2, "regularisation", 1), TierPlan(3, "refinement", 2)),
    seed=2**31 - 1,
)
SOMEONE = WorkerIdentity("host-a", 4711, 1.25)
SOMEONE_ELSE = WorkerIdentity("host-b", 4711, 1.25)
CHECKPOINT = CheckpointRecord(1, "model", 3, "runs/model.pt", "host-a", "/home", "0" * 64, 0.05)


@dataclass
class Subject:
    """A ledger, and how to let time go by on the clock its leases run on."""

    ledger: Ledger
    pass_time: Callable[[timedelta], None]

    def expire(self, claim: Claim) -> None:
        self.ledger.renew(claim, timedelta())
        self.pass_time(timedelta(milliseconds=2))


@pytest.fixture(params=["memory", "postgres"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "memory":
        clock = FakeClock()
        yield Subject(MemoryLedger(clock), clock.advance)
        return
    ledger = PostgresLedger(request.getfixturevalue("ledger_database_url"))
    yield Subject(ledger, lambda duration: time.sleep(duration.total_seconds()))
    checked_out = ledger._engine.pool.checkedout()  # type: ignore[attr-defined]  # QueuePool's, not Pool's
    ledger.close()
    assert checked_out == 0, "a connection was not given back"


@pytest.fixture
def ledger(subject: Subject) -> Ledger:
    return subject.ledger


@pytest.fixture
def campaign_id(ledger: Ledger) -> Iterator[int]:
    campaign_id = ledger.open_campaign(SPEC).id
    yield campaign_id
    assert invariants(ledger, campaign_id) == []


@pytest.fixture
def worker(ledger: Ledger, campaign_id: int) -> int:
    return ledger.register_worker(campaign_id, SOMEONE)


def claimed(ledger: Ledger, campaign_id: int, worker: int) -> Claim:
    claim = ledger.claim(campaign_id, worker, LEASE)
    assert claim is not None
    return claim


def view(ledger: Ledger, claim: Claim) -> SlotView:
    return ledger.slots(claim.campaign_id)[claim.slot - 1]


def finish_tier(ledger: Ledger, campaign_id: int, worker: int, tier: int) -> None:
    """Run the tier's remaining slots and decide it."""
    while claim := ledger.claim(campaign_id, worker, LEASE):
        ledger.finish(claim, Outcome.COMPLETE, claim.slot / 100)
    ledger.decide_tier(campaign_id, tier, {"from": tier})


def finish_all(ledger: Ledger, campaign_id: int, worker: int) -> None:
    for tier in SPEC.tiers:
        finish_tier(ledger, campaign_id, worker, tier.number)


class TestCampaign:
    def test_opens_with_its_tiers_and_slots(self, ledger: Ledger) -> None:
        campaign = ledger.open_campaign(SPEC)
        assert campaign.spec == SPEC
        assert list(campaign.spec.config) == list(SPEC.config)
        assert (campaign.state, campaign.decisions, campaign.champion) == (CampaignState.RUNNING, {}, None)
        assert campaign.created_at is not None
        assert campaign.created_at.tzinfo is not None
        slots = ledger.slots(campaign.id)
        assert [(s.slot, s.tier, s.position) for s in slots] == [(1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 3, 1), (5, 3, 2)]
        assert {s.state for s in slots} == {SlotState.OPEN}

    def test_opening_again_returns_it_unchanged(self, ledger: Ledger) -> None:
        first = ledger.open_campaign(SPEC)
        other = replace(SPEC, config={"other": 1}, tiers=(TierPlan(1, "one", 9),))
        assert ledger.open_campaign(other) == first
        assert len(ledger.slots(first.id)) == 5

    def test_is_found_by_name_and_listed_newest_first(self, ledger: Ledger) -> None:
        first = ledger.open_campaign(SPEC)
        second = ledger.open_campaign(replace(SPEC, name="beta"))
        assert ledger.find_campaign("alpha") == first
        assert ledger.find_campaign("gamma") is None
        assert list(ledger.campaigns()) == [second, first]

    def test_keeps_floats_exactly(self, ledger: Ledger) -> None:
        config = {"a": 0.1 + 0.2, "b": 1e-300, "c": 1e22, "d": -0.0, "e": 1.0}
        ledger.open_campaign(replace(SPEC, config=config))
        found = ledger.find_campaign("alpha")
        assert found is not None
        assert repr(found.spec.config) == repr(config)

    def test_refuses_what_is_not_json(self, ledger: Ledger) -> None:
        with pytest.raises(ValueError, match="configuration cannot be kept as JSON"):
            ledger.open_campaign(replace(SPEC, config={"score": float("nan")}))

    @pytest.mark.parametrize("tiers", [(), (TierPlan(2, "b", 1),), (TierPlan(1, "a", 1), TierPlan(2, "a", 1))])
    def test_refuses_tiers_out_of_order_or_with_one_name(self, ledger: Ledger, tiers: tuple[TierPlan, ...]) -> None:
        with pytest.raises(ValueError, match="named differently, not"):
            ledger.open_campaign(replace(SPEC, tiers=tiers))
        assert ledger.campaigns() == []

    def test_counts_the_openings_of_its_holdout(self, ledger: Ledger, campaign_id: int) -> None:
        assert [ledger.count_holdout_opening(campaign_id) for _ in range(3)] == [1, 2, 3]
        assert ledger.campaigns()[0].num_holdout_openings == 3


class TestClaim:
    def test_takes_the_lowest_open_slot(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        assert claim == Claim(campaign_id, 1, 1, 1, 1, worker, None, 0)
        slot = view(ledger, claim)
        assert (slot.state, slot.worker, slot.fence) == (SlotState.RUNNING, SOMEONE, 1)
        assert slot.started_at is not None
        assert slot.lease_expires_at is not None
        assert slot.lease_expires_at - slot.started_at == LEASE
        assert claimed(ledger, campaign_id, worker).slot == 2

    def test_is_none_when_the_rest_of_the_tier_runs_elsewhere(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        claimed(ledger, campaign_id, worker)
        claimed(ledger, campaign_id, worker)
        assert ledger.claim(campaign_id, worker, LEASE) is None

    def test_enters_a_tier_only_when_the_one_before_is_decided(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        for _ in range(2):
            ledger.finish(claimed(ledger, campaign_id, worker), Outcome.COMPLETE, 0.1)
        assert ledger.claim(campaign_id, worker, LEASE) is None
        ledger.decide_tier(campaign_id, 1, {})
        assert claimed(ledger, campaign_id, worker).tier == 2

    def test_tiers_are_unfinished_until_their_last_slot_is_done(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        first = claimed(ledger, campaign_id, worker)
        last = claimed(ledger, campaign_id, worker)
        ledger.finish(first, Outcome.COMPLETE, 0.1)
        assert ledger.unfinished_tiers(campaign_id) == {1, 2, 3}
        ledger.finish(last, Outcome.COMPLETE, 0.1)
        assert ledger.unfinished_tiers(campaign_id) == {2, 3}
        ledger.decide_tier(campaign_id, 1, {})
        for tier in (2, 3):
            finish_tier(ledger, campaign_id, worker, tier)
        assert ledger.unfinished_tiers(campaign_id) == set()

    def test_is_none_when_all_is_done(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        finish_all(ledger, campaign_id, worker)
        assert ledger.claim(campaign_id, worker, LEASE) is None

    def test_an_empty_tier_is_passed_once_it_is_decided(self, ledger: Ledger) -> None:
        spec = replace(SPEC, tiers=(TierPlan(1, "empty", 0), TierPlan(2, "full", 1)))
        campaign_id = ledger.open_campaign(spec).id
        worker = ledger.register_worker(campaign_id, SOMEONE)
        assert ledger.claim(campaign_id, worker, LEASE) is None
        ledger.decide_tier(campaign_id, 1, {})
        assert claimed(ledger, campaign_id, worker).tier == 2

    def test_campaigns_do_not_mix(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        other = ledger.open_campaign(replace(SPEC, name="beta")).id
        their_worker = ledger.register_worker(other, SOMEONE)
        mine, theirs = claimed(ledger, campaign_id, worker), claimed(ledger, other, their_worker)
        assert (mine.slot, theirs.slot) == (1, 1)
        ledger.finish(theirs, Outcome.COMPLETE, 0.1)
        assert view(ledger, mine).state is SlotState.RUNNING


class TestLease:
    def test_an_expired_one_is_claimed_again_with_a_new_fence(
        self, subject: Subject, campaign_id: int, worker: int
    ) -> None:
        first = claimed(subject.ledger, campaign_id, worker)
        subject.ledger.bind_trial(first, 7, "/runs/1")
        subject.expire(first)
        second = claimed(subject.ledger, campaign_id, worker)
        assert second == replace(first, fence=2, num_losses=1, trial_number=7)

    def test_a_live_one_is_left_alone(self, subject: Subject, campaign_id: int, worker: int) -> None:
        first = claimed(subject.ledger, campaign_id, worker)
        subject.pass_time(timedelta(milliseconds=2))
        assert claimed(subject.ledger, campaign_id, worker).slot != first.slot

    def test_a_late_renewal_keeps_the_slot_while_nobody_took_it(
        self, subject: Subject, campaign_id: int, worker: int
    ) -> None:
        claim = claimed(subject.ledger, campaign_id, worker)
        subject.expire(claim)
        subject.ledger.check(claim)
        subject.ledger.renew(claim, LEASE)
        assert claimed(subject.ledger, campaign_id, worker).slot == 2

    def test_renewal_notes_progress_and_keeps_it(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        ledger.renew(claim, LEASE, Progress(3, 0.04, 1e6))
        ledger.renew(claim, LEASE)
        slot = view(ledger, claim)
        assert (slot.epoch, slot.score, slot.samples_per_second) == (3, 0.04, 1e6)

    def test_release_opens_the_slot_at_once_and_is_no_crash(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        first = claimed(ledger, campaign_id, worker)
        ledger.bind_trial(first, 3, "/runs/1")
        ledger.release(first)
        slot = view(ledger, first)
        assert (slot.state, slot.worker, slot.lease_expires_at, slot.trial_number) == (SlotState.OPEN, None, None, 3)
        assert claimed(ledger, campaign_id, worker) == replace(first, fence=2, trial_number=3)

    def test_release_after_a_crash_counts_it(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        ledger.release(claimed(ledger, campaign_id, worker), crashed=True)
        assert claimed(ledger, campaign_id, worker).num_crashes == 1

    def test_only_the_trials_own_deaths_count_as_crashes(self, subject: Subject, campaign_id: int, worker: int) -> None:
        ledger = subject.ledger
        subject.expire(claimed(ledger, campaign_id, worker))
        assert claimed(ledger, campaign_id, worker).slot == 1
        ledger.expire_dead(campaign_id, lambda _: True)
        ledger.release(claimed(ledger, campaign_id, worker))
        ledger.release(claimed(ledger, campaign_id, worker), crashed=True)
        claim = claimed(ledger, campaign_id, worker)
        assert (claim.fence, claim.num_crashes, claim.num_losses) == (5, 1, 2)

    def test_a_new_epoch_sets_the_counts_back(self, subject: Subject, campaign_id: int, worker: int) -> None:
        ledger = subject.ledger

        def counts_after(epoch: int) -> tuple[int, int]:
            ledger.renew(claimed(ledger, campaign_id, worker), LEASE, Progress(epoch))
            slot = ledger.slots(campaign_id)[0]
            ledger.expire_dead(campaign_id, lambda _: True)
            ledger.release(claimed(ledger, campaign_id, worker), crashed=True)
            return slot.num_crashes, slot.num_losses

        assert [counts_after(epoch) for epoch in (1, 1, 2, 1)] == [(0, 0), (1, 1), (0, 0), (1, 1)]

    def test_a_pause_keeps_the_trial_and_lets_all_others_go_first(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        first = claimed(ledger, campaign_id, worker)
        ledger.bind_trial(first, 3, "/runs/3")
        ledger.renew(first, LEASE, Progress(2, 0.01))
        ledger.pause(first, 2)
        slot = view(ledger, first)
        assert (slot.state, slot.worker, slot.lease_expires_at) == (SlotState.PAUSED, None, None)
        assert (slot.trial_number, slot.epoch, slot.pauses) == (3, 2, (2,))
        assert 1 in ledger.unfinished_tiers(campaign_id)
        second = claimed(ledger, campaign_id, worker)
        assert second.slot == 2, "an open one comes first, although its number is higher"
        ledger.bind_trial(second, 4, "/runs/4")
        ledger.pause(second, 1)
        again = claimed(ledger, campaign_id, worker)
        assert (again.slot, again.fence, again.pauses) == (2, 2, (1,)), "the one with the fewest epochs goes on"
        assert claimed(ledger, campaign_id, worker) == replace(first, fence=2, trial_number=3, pauses=(2,))

    def test_a_paused_slot_is_nobodys_death(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        ledger.bind_trial(claim, 3, "/runs/3")
        ledger.pause(claim, 2)
        assert list(ledger.expire_dead(campaign_id, lambda _: True)) == []
        assert (view(ledger, claim).num_losses, view(ledger, claim).num_crashes) == (0, 0)

    def test_there_must_be_something_to_pause(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        with pytest.raises(ValueError, match="no trial yet"):
            ledger.pause(claim, 1)
        ledger.bind_trial(claim, 0, "/runs/0")
        with pytest.raises(ValueError, match="paused after an epoch"):
            ledger.pause(claim, 0)
        assert view(ledger, claim).state is SlotState.RUNNING

    def test_times_are_aware_and_in_order(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        ledger.finish(claim, Outcome.COMPLETE, 0.1)
        slot = view(ledger, claim)
        assert slot.started_at is not None
        assert slot.finished_at is not None
        assert datetime(2000, 1, 1, tzinfo=UTC) < slot.started_at <= slot.finished_at


def _finish(ledger: Ledger, claim: Claim) -> None:
    ledger.finish(claim, Outcome.COMPLETE, 0.9)


def _pause(ledger: Ledger, claim: Claim) -> None:
    if ledger.slots(claim.campaign_id)[claim.slot - 1].trial_number is None:
        with suppress(LeaseLost):
            ledger.bind_trial(claim, 7, "/runs/7")
    ledger.pause(claim, 1)


OPERATIONS: dict[str, Callable[[Ledger, Claim], None]] = {
    "renew": lambda ledger, claim: ledger.renew(claim, LEASE, Progress(99)),
    "check": lambda ledger, claim: ledger.check(claim),
    "bind": lambda ledger, claim: ledger.bind_trial(claim, 99, "/runs/99"),
    "finish": _finish,
    "release": lambda ledger, claim: ledger.release(claim),
    "pause": _pause,
    "checkpoint": lambda ledger, claim: ledger.record_checkpoint(claim, replace(CHECKPOINT, slot=claim.slot)),
}


def _taken_over(subject: Subject, claim: Claim) -> None:
    subject.expire(claim)
    other = subject.ledger.register_worker(claim.campaign_id, SOMEONE_ELSE)
    claimed(subject.ledger, claim.campaign_id, other)


LOSSES: dict[str, Callable[[Subject, Claim], object]] = {
    "taken over": _taken_over,
    "finished": lambda subject, claim: subject.ledger.finish(claim, Outcome.PRUNED, 0.1),
    "released": lambda subject, claim: subject.ledger.release(claim),
    "paused": lambda subject, claim: _pause(subject.ledger, claim),
    "ended as dead": lambda subject, claim: subject.ledger.expire_dead(claim.campaign_id, lambda _: True),
}


class TestFence:
    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_lost_claim_changes_nothing(
        self, subject: Subject, campaign_id: int, worker: int, operation: str, loss: str
    ) -> None:
        claim = claimed(subject.ledger, campaign_id, worker)
        LOSSES[loss](subject, claim)
        before = subject.ledger.slots(campaign_id)
        with pytest.raises(LeaseLost, match=f"Slot {claim.slot} is not held"):
            OPERATIONS[operation](subject.ledger, claim)
        assert subject.ledger.slots(campaign_id) == before
        assert subject.ledger.checkpoints(campaign_id) == []

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_held_claim_may_do_everything(
        self, ledger: Ledger, campaign_id: int, worker: int, operation: str
    ) -> None:
        OPERATIONS[operation](ledger, claimed(ledger, campaign_id, worker))


class TestTrial:
    def test_is_bound_for_ever_and_binding_may_be_repeated(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        ledger.bind_trial(claim, 0, "/runs/a")
        ledger.bind_trial(claim, 0, "/runs/b")
        assert (view(ledger, claim).trial_number, view(ledger, claim).run_folder) == (0, "/runs/b")
        with pytest.raises(ValueError, match="owns trial 0 for ever"):
            ledger.bind_trial(claim, 1, "/runs/b")

    def test_belongs_to_one_slot_of_its_tier(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        first, second = claimed(ledger, campaign_id, worker), claimed(ledger, campaign_id, worker)
        ledger.bind_trial(first, 0, "/runs/1")
        with pytest.raises(ValueError, match="trial 0 belongs to another slot of tier 1"):
            ledger.bind_trial(second, 0, "/runs/2")
        ledger.check(second)

    def test_of_another_tier_may_have_the_same_number(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        ledger.bind_trial(claimed(ledger, campaign_id, worker), 0, "/runs/1")
        ledger.expire_dead(campaign_id, lambda _: True)
        finish_tier(ledger, campaign_id, worker, 1)
        ledger.bind_trial(claimed(ledger, campaign_id, worker), 0, "/runs/3")


class TestFinish:
    def test_records_how_it_ended(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        ledger.finish(claim, Outcome.FAILED, None, "non_finite: the loss was inf at step 3")
        slot = view(ledger, claim)
        assert (slot.state, slot.outcome, slot.score) == (SlotState.DONE, Outcome.FAILED, None)
        assert slot.reason == "non_finite: the loss was inf at step 3"
        assert slot.worker == SOMEONE
        assert slot.lease_expires_at is None

    @pytest.mark.parametrize("outcome", [Outcome.COMPLETE, Outcome.PRUNED])
    @pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
    def test_refuses_a_missing_score(
        self, ledger: Ledger, campaign_id: int, worker: int, outcome: Outcome, score: float | None
    ) -> None:
        claim = claimed(ledger, campaign_id, worker)
        with pytest.raises(ValueError, match="FAILED"):
            ledger.finish(claim, outcome, score)
        assert view(ledger, claim).state is SlotState.RUNNING


class TestDead:
    def test_leases_of_dead_workers_end_at_once_and_count_as_losses(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        other = ledger.register_worker(campaign_id, SOMEONE_ELSE)
        dead, live = claimed(ledger, campaign_id, worker), claimed(ledger, campaign_id, other)
        ledger.bind_trial(dead, 5, "/runs/1")
        assert ledger.expire_dead(campaign_id, lambda identity: identity == SOMEONE) == [dead.slot]
        assert ledger.expire_dead(campaign_id, lambda identity: identity == SOMEONE) == []
        ledger.check(live)
        assert claimed(ledger, campaign_id, other) == Claim(campaign_id, 1, 1, 1, 2, other, 5, 0, 1)

    def test_workers_are_known_by_host_process_and_start(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        assert ledger.register_worker(campaign_id, SOMEONE) == worker
        reborn = ledger.register_worker(campaign_id, replace(SOMEONE, started=2.5))
        assert len({worker, reborn, ledger.register_worker(campaign_id, SOMEONE_ELSE)}) == 3


class TestRetry:
    def test_a_failed_slot_opens_again_for_another_trial(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        first = claimed(ledger, campaign_id, worker)
        ledger.bind_trial(first, 3, "/runs/1")
        ledger.renew(first, LEASE, Progress(2, 0.1))
        ledger.record_checkpoint(first, replace(CHECKPOINT, kind="result"))
        ledger.finish(first, Outcome.FAILED, None, "poison: it died")
        finish_all(ledger, campaign_id, worker)
        ledger.complete_campaign(campaign_id, {"slot": 2})

        campaign = ledger.retry(campaign_id, [first.slot])

        assert (campaign.state, campaign.decisions) == (CampaignState.RUNNING, {})
        assert ledger.checkpoints(campaign_id) == []
        slot = view(ledger, first)
        assert (slot.state, slot.outcome, slot.reason, slot.trial_number) == (SlotState.OPEN, None, None, None)
        again = claimed(ledger, campaign_id, worker)
        assert again == replace(first, fence=2, retried_trial=3)
        ledger.bind_trial(again, 4, "/runs/1")
        ledger.finish(again, Outcome.COMPLETE, 0.2)
        assert len([slot for slot in ledger.slots(campaign_id) if slot.state is SlotState.DONE]) == 5

    def test_earlier_decisions_stand(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        finish_tier(ledger, campaign_id, worker, 1)
        failed = claimed(ledger, campaign_id, worker)
        ledger.finish(failed, Outcome.FAILED, None, "error: x")
        ledger.decide_tier(campaign_id, 2, {"from": 2})
        assert ledger.retry(campaign_id, [failed.slot]).decisions == {1: {"from": 1}}

    def test_only_failed_slots_are_given_back(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        failed, done = claimed(ledger, campaign_id, worker), claimed(ledger, campaign_id, worker)
        ledger.finish(failed, Outcome.FAILED, None, "error: x")
        ledger.finish(done, Outcome.COMPLETE, 0.1)
        with pytest.raises(ValueError, match="FAILED"):
            ledger.retry(campaign_id, [failed.slot, done.slot])
        assert view(ledger, failed).outcome is Outcome.FAILED

    def test_it_goes_on_with_other_code(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        failed = claimed(ledger, campaign_id, worker)
        ledger.finish(failed, Outcome.FAILED, None, "error: x")
        campaign = ledger.retry(campaign_id, [failed.slot], code="mended")
        assert campaign.spec.fingerprints == {**SPEC.fingerprints, "code": "mended"}
        assert ledger.find_campaign(SPEC.name) == campaign

    @pytest.mark.parametrize("made", ["running", "epochs", "result"])
    def test_other_code_is_refused_where_the_code_before_has_made_something(
        self, ledger: Ledger, campaign_id: int, worker: int, made: str
    ) -> None:
        failed, other = claimed(ledger, campaign_id, worker), claimed(ledger, campaign_id, worker)
        ledger.finish(failed, Outcome.FAILED, None, "error: x")
        if made == "epochs":
            ledger.renew(other, LEASE, Progress(2, 0.1))
            ledger.release(other, crashed=False)
        elif made == "result":
            ledger.finish(other, Outcome.PRUNED, 0.1)
        with pytest.raises(ValueError, match=rf"the slots \[{other.slot}\] hold what the code before has made"):
            ledger.retry(campaign_id, [failed.slot], code="mended")
        assert ledger.find_campaign(SPEC.name).spec == SPEC  # type: ignore[union-attr]
        assert view(ledger, failed).outcome is Outcome.FAILED


class TestDecision:
    def test_the_first_one_wins(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        for _ in range(2):
            ledger.finish(claimed(ledger, campaign_id, worker), Outcome.COMPLETE, 0.1)
        assert ledger.decide_tier(campaign_id, 1, {"best": (1, 2)}) == {"best": [1, 2]}
        assert ledger.decide_tier(campaign_id, 1, {"best": "other"}) == {"best": [1, 2]}
        assert ledger.campaigns()[0].decisions == {1: {"best": [1, 2]}}

    def test_waits_for_the_tiers_slots(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        ledger.finish(claimed(ledger, campaign_id, worker), Outcome.COMPLETE, 0.1)
        claimed(ledger, campaign_id, worker)
        with pytest.raises(ValueError, match="tier 1 cannot be decided: 1 slots are not done"):
            ledger.decide_tier(campaign_id, 1, {})

    def test_needs_a_tier(self, ledger: Ledger, campaign_id: int) -> None:
        with pytest.raises(ValueError, match="no tier 4"):
            ledger.decide_tier(campaign_id, 4, {})


class TestCompletion:
    def test_records_the_last_champion(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        finish_all(ledger, campaign_id, worker)
        ledger.complete_campaign(campaign_id, {"slot": 1})
        campaign = ledger.complete_campaign(campaign_id, {"slot": 2})
        assert (campaign.state, campaign.champion) == (CampaignState.COMPLETE, {"slot": 2})
        assert ledger.find_campaign("alpha") == campaign

    def test_waits_for_all_slots(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        finish_tier(ledger, campaign_id, worker, 1)
        with pytest.raises(ValueError, match="'alpha' cannot be completed: 3 slots are not done"):
            ledger.complete_campaign(campaign_id, {})


class TestBudget:
    def test_grows_at_the_end_of_the_last_tier(self, ledger: Ledger, campaign_id: int) -> None:
        campaign = ledger.raise_budget(campaign_id, 7)
        assert campaign.spec.budget == 7
        assert campaign.spec.tiers[-1] == TierPlan(3, "refinement", 4)
        assert [(s.slot, s.tier, s.position) for s in ledger.slots(campaign_id)[-2:]] == [(6, 3, 3), (7, 3, 4)]

    def test_reopens_a_complete_campaign_and_its_last_decision(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        finish_all(ledger, campaign_id, worker)
        ledger.complete_campaign(campaign_id, {"slot": 1})
        campaign = ledger.raise_budget(campaign_id, 6)
        assert campaign.state is CampaignState.RUNNING
        assert set(campaign.decisions) == {1, 2}
        assert claimed(ledger, campaign_id, worker).slot == 6

    def test_the_same_budget_changes_nothing(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        finish_all(ledger, campaign_id, worker)
        complete = ledger.complete_campaign(campaign_id, {"slot": 1})
        assert ledger.raise_budget(campaign_id, 5) == complete

    def test_in_epochs_is_kept_with_the_campaign(self, ledger: Ledger) -> None:
        config = {"search": {"epochs": 50, "seed": 1}, "num_epochs": 10}
        opened = ledger.open_campaign(CampaignSpec("epochs", config, {}, (TierPlan(1, "one", 5),), 0))
        grown = ledger.raise_budget(opened.id, 7, 80)
        assert grown.spec.config == {"search": {"epochs": 80, "seed": 1}, "num_epochs": 10}
        assert ledger.raise_budget(opened.id, 7, 90).spec.config["search"]["epochs"] == 90
        assert ledger.find_campaign("epochs") == ledger.raise_budget(opened.id, 7)

    def test_never_shrinks(self, ledger: Ledger, campaign_id: int) -> None:
        with pytest.raises(UsageError, match="already has 5 trials; HPO_TRIALS=4"):
            ledger.raise_budget(campaign_id, 4)
        assert len(ledger.slots(campaign_id)) == 5


class TestCheckpoint:
    def test_the_newest_of_each_kind_stays(self, ledger: Ledger, campaign_id: int, worker: int) -> None:
        claim = claimed(ledger, campaign_id, worker)
        result = replace(CHECKPOINT, kind="result", score=None)
        newer = replace(CHECKPOINT, epoch=4, path="/runs/newer.pt", sha256="f" * 64)
        snapshot = replace(CHECKPOINT, kind="snapshot", path="runs/night/slot-0001/attempt-1/snapshot.json")
        for record in (CHECKPOINT, result, newer, snapshot):
            ledger.record_checkpoint(claim, record)
        assert ledger.checkpoints(campaign_id) == [newer, result, snapshot]

    def test_retention_forgets_the_model_of_the_named_slots_alone(
        self, ledger: Ledger, campaign_id: int, worker: int
    ) -> None:
        first, second = (claimed(ledger, campaign_id, worker) for _ in range(2))
        kept = [replace(CHECKPOINT, slot=slot, kind=kind) for slot in (1, 2) for kind in ("model", "result")]
        for record in kept:
            ledger.record_checkpoint(first if record.slot == 1 else second, record)
        ledger.forget_checkpoints(campaign_id, {1})
        ledger.forget_checkpoints(campaign_id, set())
        assert ledger.checkpoints(campaign_id) == kept[1:]

    @pytest.mark.parametrize("wrong", [replace(CHECKPOINT, slot=2), replace(CHECKPOINT, kind="middle")])
    def test_must_be_the_claims_own(
        self, ledger: Ledger, campaign_id: int, worker: int, wrong: CheckpointRecord
    ) -> None:
        with pytest.raises(ValueError, match=r"checkpoint of|recorded file is"):
            ledger.record_checkpoint(claimed(ledger, campaign_id, worker), wrong)


class TestExclusive:
    def test_one_holder_at_a_time_under_each_name(self, ledger: Ledger) -> None:
        order: list[str] = []
        waiting = threading.Event()

        def second() -> None:
            waiting.set()
            with ledger.exclusive("study"):
                order.append("second")

        with ThreadPoolExecutor(1) as pool:
            with ledger.exclusive("study"), ledger.exclusive("champion"):
                other = pool.submit(second)
                waiting.wait()
                time.sleep(0.15)
                order.append("first")
            other.result(timeout=30)
        assert order == ["first", "second"]

    def test_is_free_after_an_error(self, ledger: Ledger) -> None:
        with pytest.raises(KeyError), ledger.exclusive("study"):
            raise KeyError
        with ledger.exclusive("study"):
            pass


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.raise_budget(404, 1),
        lambda ledger: ledger.decide_tier(404, 1, {}),
        lambda ledger: ledger.complete_campaign(404, {}),
        lambda ledger: ledger.count_holdout_opening(404),
    ],
)
def test_an_unknown_campaign_is_refused(ledger: Ledger, call: Callable[[Ledger], object]) -> None:
    with pytest.raises(ValueError, match="no campaign with the id 404"):
        call(ledger)


class TestADeletedCampaign:
    def test_is_gone_with_all_that_belongs_to_it_and_its_name_is_free(self, ledger: Ledger) -> None:
        kept = ledger.open_campaign(replace(SPEC, name="kept")).id
        gone = ledger.open_campaign(SPEC).id
        for campaign_id in (kept, gone):
            worker = ledger.register_worker(campaign_id, SOMEONE)
            claim = claimed(ledger, campaign_id, worker)
            ledger.record_checkpoint(claim, CHECKPOINT)
            ledger.finish(claim, Outcome.COMPLETE, 0.1)
        before = ledger.slots(kept)
        asked: list[int] = []
        ledger.delete_campaign(gone, lambda: asked.append(1))
        assert asked == [1]
        assert ledger.find_campaign(SPEC.name) is None
        assert [campaign.id for campaign in ledger.campaigns()] == [kept]
        assert ledger.slots(kept) == before
        assert len(ledger.checkpoints(kept)) == 1
        ledger.delete_campaign(gone, lambda: asked.append(2))
        assert asked == [1], "there is nothing left to take out elsewhere"
        again = ledger.open_campaign(replace(SPEC, seed=5))
        assert again.id not in (kept, gone)
        assert again.spec.seed == 5

    def test_is_refused_while_a_lease_runs_and_not_once_it_has_run_out(self, subject: Subject) -> None:
        ledger = subject.ledger
        campaign_id = ledger.open_campaign(SPEC).id
        claim = claimed(ledger, campaign_id, ledger.register_worker(campaign_id, SOMEONE))
        asked: list[int] = []
        with pytest.raises(UsageError, match="Somebody works on the campaign 'alpha'"):
            ledger.delete_campaign(campaign_id, lambda: asked.append(1))
        assert asked == []
        ledger.check(claim)
        subject.expire(claim)
        ledger.delete_campaign(campaign_id, lambda: asked.append(2))
        assert asked == [2]
        assert ledger.campaigns() == []

    def test_stays_where_another_store_is_not_emptied(self, ledger: Ledger, campaign_id: int) -> None:
        def fail() -> None:
            raise StoreUnavailable("it is away")

        with pytest.raises(StoreUnavailable):
            ledger.delete_campaign(campaign_id, fail)
        assert len(ledger.slots(campaign_id)) == SPEC.budget
