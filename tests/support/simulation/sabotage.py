"""Ledgers of which one rule is broken: what a simulation that is worth something finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hpo.domain.campaign import Campaign, Claim, Outcome, WorkerIdentity
from hpo.domain.ports import Clock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_slots import Slot


class NoFencing(MemoryLedger):
    """Whoever once had a slot may write to it for ever."""

    def _held(self, claim: Claim) -> Slot:
        return self._of(claim.campaign_id).slots[claim.slot - 1]


class NoNewFence(MemoryLedger):
    """A second owner is given the number of the first."""

    def claim(self, campaign_id: int, worker_id: int, lease: timedelta) -> Claim | None:
        claim = super().claim(campaign_id, worker_id, lease)
        if claim is None or claim.fence == 1:
            return claim
        slot = self._of(campaign_id).slots[claim.slot - 1]
        slot.view = replace(slot.view, fence=1)
        return replace(claim, fence=1)


class NoLease(MemoryLedger):
    """A slot that somebody works on is given to the next who asks."""

    def claim(self, campaign_id: int, worker_id: int, lease: timedelta) -> Claim | None:
        right, self._clock = self._clock, _Ahead(self._clock)
        try:
            return super().claim(campaign_id, worker_id, lease)
        finally:
            self._clock = right


class _Ahead:
    """A clock that is a day ahead."""

    def __init__(self, clock: Clock) -> None:
        self.monotonic, self.sleep, self._clock = clock.monotonic, clock.sleep, clock

    def now(self) -> datetime:
        return self._clock.now() + timedelta(days=1)


class TakesFromTheLiving(MemoryLedger):
    """Every owner counts as dead."""

    def expire_dead(self, campaign_id: int, is_dead: Callable[[WorkerIdentity], bool]) -> Sequence[int]:
        return super().expire_dead(campaign_id, lambda worker: True)


class OneTooMany(MemoryLedger):
    """A larger budget has a slot more than was asked for."""

    def raise_budget(self, campaign_id: int, num_trials: int, epochs: int | None = None) -> Campaign:
        campaign = super().raise_budget(campaign_id, num_trials, epochs)
        self._of(campaign_id).add_slots(campaign.spec.tiers[-1].number, campaign.spec.tiers[-1].num_slots, 1)
        return campaign


class AnyOrder(MemoryLedger):
    """Tiers begin before those ahead of them are decided."""

    def claim(self, campaign_id: int, worker_id: int, lease: timedelta) -> Claim | None:
        work = self._of(campaign_id)
        before, every = work.campaign, {tier.number: {} for tier in work.campaign.spec.tiers}
        work.campaign = replace(before, decisions={**every, **before.decisions})
        try:
            return super().claim(campaign_id, worker_id, lease)
        finally:
            work.campaign = before


class LastDecisionWins(MemoryLedger):
    """A tier can be decided again, and otherwise."""

    def decide_tier(self, campaign_id: int, tier: int, decision: Mapping[str, Any]) -> Mapping[str, Any]:
        work = self._of(campaign_id)
        kept = {number: made for number, made in work.campaign.decisions.items() if number != tier}
        work.campaign = replace(work.campaign, decisions=kept)
        return super().decide_tier(campaign_id, tier, decision)


class LeaseOutlivesSlot(MemoryLedger):
    """What is done is still leased."""

    def finish(self, claim: Claim, outcome: Outcome, score: float | None, reason: str | None = None) -> None:
        super().finish(claim, outcome, score, reason)
        slot = self._of(claim.campaign_id).slots[claim.slot - 1]
        slot.view = replace(slot.view, lease_expires_at=self._clock.now())


class SharedTrial(MemoryLedger):
    """Two slots own one trial."""

    def bind_trial(self, claim: Claim, trial_number: int, run_folder: str) -> None:
        super().bind_trial(claim, trial_number, run_folder)
        slot = self._held(claim)
        slot.view = replace(slot.view, trial_number=0)


BROKEN = (
    NoFencing,
    NoNewFence,
    NoLease,
    TakesFromTheLiving,
    OneTooMany,
    AnyOrder,
    LastDecisionWins,
    LeaseOutlivesSlot,
    SharedTrial,
)
