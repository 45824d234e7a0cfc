"""The ledger in memory: for tests, and for searches that need not survive their process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hpo.domain import ledger_rules as rules
from hpo.domain.campaign import (
    Campaign,
    CampaignSpec,
    CampaignState,
    CheckpointRecord,
    Claim,
    Outcome,
    Progress,
    SlotState,
    SlotView,
    WorkerIdentity,
)
from hpo.domain.ports import Clock
from hpo.testing.memory_slots import Slot, claim_on, is_free, open_slot, reopen, turn


@dataclass
class _Work:
    """What belongs to one campaign."""

    campaign: Campaign
    slots: list[Slot] = field(default_factory=list)
    checkpoints: dict[tuple[int, str], CheckpointRecord] = field(default_factory=dict)
    workers: dict[int, WorkerIdentity] = field(default_factory=dict)

    def num_unfinished(self, tier: int | None = None) -> int:
        return sum(
            slot.view.state is not SlotState.DONE for slot in self.slots if tier is None or slot.view.tier == tier
        )

    def add_slots(self, tier: int, position: int, count: int) -> None:
        for step in range(1, count + 1):
            self.slots.append(Slot(open_slot(len(self.slots) + 1, tier, position + step)))


class MemoryLedger:
    """`hpo.domain.ports.Ledger` in this process alone; its docstrings are the contract. Leases run on the given
    clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._work: dict[int, _Work] = {}
        self._num_workers = 0
        self._num_campaigns = 0
        self._named_locks: dict[str, threading.Lock] = {}

    def open_campaign(self, spec: CampaignSpec) -> Campaign:
        rules.check_spec(spec)
        kept = replace(
            spec,
            config=rules.plain_json(spec.config, "configuration"),
            fingerprints=rules.plain_json(spec.fingerprints, "fingerprints"),
        )
        with self._lock:
            for work in self._work.values():
                if work.campaign.name == spec.name:
                    return work.campaign
            self._num_campaigns += 1
            campaign_id = self._num_campaigns
            work = _Work(Campaign(campaign_id, kept, CampaignState.RUNNING, created_at=self._clock.now()))
            for tier in spec.tiers:
                work.add_slots(tier.number, 0, tier.num_slots)
            self._work[campaign_id] = work
            return work.campaign

    def find_campaign(self, name: str) -> Campaign | None:
        return next((campaign for campaign in self.campaigns() if campaign.name == name), None)

    def campaigns(self) -> Sequence[Campaign]:
        with self._lock:
            return [work.campaign for work in reversed(self._work.values())]

    def raise_budget(self, campaign_id: int, num_trials: int, epochs: int | None = None) -> Campaign:
        with self._lock:
            work = self._of(campaign_id)
            spec = work.campaign.spec
            if num_trials < spec.budget:
                raise rules.budget_too_small(spec.name, spec.budget, num_trials)
            added = num_trials - spec.budget
            if added:
                last = spec.tiers[-1]
                work.add_slots(last.number, last.num_slots, added)
                tiers = (*spec.tiers[:-1], replace(last, num_slots=last.num_slots + added))
                decisions = {tier: kept for tier, kept in work.campaign.decisions.items() if tier != last.number}
                work.campaign = replace(
                    work.campaign, spec=replace(spec, tiers=tiers), state=CampaignState.RUNNING, decisions=decisions
                )
            if epochs is not None:
                spec = work.campaign.spec
                grown = replace(spec, config=rules.with_epochs(spec.config, epochs))
                work.campaign = replace(work.campaign, spec=grown)
            return work.campaign

    def register_worker(self, campaign_id: int, identity: WorkerIdentity) -> int:
        with self._lock:
            workers = self._of(campaign_id).workers
            for known, other in workers.items():
                if other == identity:
                    return known
            self._num_workers += 1
            workers[self._num_workers] = identity
            return self._num_workers

    def claim(self, campaign_id: int, worker_id: int, lease: timedelta) -> Claim | None:
        with self._lock:
            work, now = self._of(campaign_id), self._clock.now()
            tier = min((slot.view.tier for slot in work.slots if slot.view.state is not SlotState.DONE), default=None)
            if tier is None or any(number not in work.campaign.decisions for number in range(1, tier)):
                return None
            free = (slot for slot in work.slots if slot.view.tier == tier and is_free(slot, now))
            slot = min(free, key=turn, default=None)
            if slot is None:
                return None
            slot.worker_id = worker_id
            slot.view = replace(
                slot.view,
                state=SlotState.RUNNING,
                fence=slot.view.fence + 1,
                num_losses=slot.view.num_losses + (slot.view.state is SlotState.RUNNING),
                worker=work.workers[worker_id],
                lease_expires_at=now + lease,
                started_at=slot.view.started_at or now,
            )
            return claim_on(campaign_id, slot)

    def renew(self, claim: Claim, lease: timedelta, progress: Progress | None = None) -> None:
        with self._lock:
            slot = self._held(claim)
            slot.view = replace(slot.view, lease_expires_at=self._clock.now() + lease)
            if progress is not None:
                if progress.epoch > (slot.view.epoch or 0):
                    slot.view = replace(slot.view, num_crashes=0, num_losses=0)
                slot.view = replace(
                    slot.view,
                    epoch=progress.epoch,
                    score=progress.score,
                    samples_per_second=progress.samples_per_second,
                )

    def check(self, claim: Claim) -> None:
        with self._lock:
            self._held(claim)

    def bind_trial(self, claim: Claim, trial_number: int, run_folder: str) -> None:
        with self._lock:
            slot = self._held(claim)
            if slot.view.trial_number not in (None, trial_number):
                raise rules.rebound(claim, slot.view.trial_number, trial_number)
            for other in self._of(claim.campaign_id).slots:
                if other is not slot and (other.view.tier, other.view.trial_number) == (claim.tier, trial_number):
                    raise rules.bound_elsewhere(claim, trial_number)
            slot.view = replace(slot.view, trial_number=trial_number, run_folder=run_folder)

    def finish(self, claim: Claim, outcome: Outcome, score: float | None, reason: str | None = None) -> None:
        rules.check_result(claim, outcome, score)
        with self._lock:
            slot = self._held(claim)
            slot.view = replace(
                slot.view,
                state=SlotState.DONE,
                outcome=outcome,
                score=score,
                reason=reason,
                finished_at=self._clock.now(),
                lease_expires_at=None,
            )

    def release(self, claim: Claim, *, crashed: bool = False) -> None:
        with self._lock:
            reopen(self._held(claim), num_crashes=int(crashed))

    def pause(self, claim: Claim, epoch: int) -> None:
        rules.check_pause(claim, epoch)
        with self._lock:
            slot = self._held(claim)
            if slot.view.trial_number is None:
                raise rules.not_begun(claim)
            reopen(slot)
            slot.view = replace(slot.view, state=SlotState.PAUSED, pauses=(*slot.view.pauses, epoch))

    def delete_campaign(self, campaign_id: int, first: Callable[[], None]) -> None:
        with self._lock:
            if campaign_id not in self._work:
                return
            work, now = self._of(campaign_id), self._clock.now()
            leases = [slot.view.lease_expires_at for slot in work.slots]
            if any(lease is not None and lease > now for lease in leases):
                raise rules.worked_on(work.campaign.name)
            first()
            del self._work[campaign_id]

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        with self._lock:
            named = self._named_locks.setdefault(name, threading.Lock())
        with named:
            yield

    def expire_dead(self, campaign_id: int, is_dead: Callable[[WorkerIdentity], bool]) -> Sequence[int]:
        with self._lock:
            ended = []
            for slot in self._of(campaign_id).slots:
                worker = slot.view.worker
                if slot.view.state is SlotState.RUNNING and worker is not None and is_dead(worker):
                    reopen(slot, num_losses=1)
                    ended.append(slot.view.slot)
            return ended

    def slots(self, campaign_id: int) -> Sequence[SlotView]:
        with self._lock:
            return [slot.view for slot in self._of(campaign_id).slots]

    def unfinished_tiers(self, campaign_id: int) -> Set[int]:
        with self._lock:
            return {slot.view.tier for slot in self._of(campaign_id).slots if slot.view.state is not SlotState.DONE}

    def retry(self, campaign_id: int, slots: Collection[int], code: str | None = None) -> Campaign:
        with self._lock:
            work = self._of(campaign_id)
            rules.check_code([slot.view for slot in work.slots], code)
            chosen = [slot for slot in work.slots if slot.view.slot in slots and slot.view.outcome is Outcome.FAILED]
            if len(chosen) != len(set(slots)):
                raise rules.not_failed(slots)
            for slot in chosen:
                slot.worker_id = None
                for kind in ("model", "result", "snapshot"):
                    work.checkpoints.pop((slot.view.slot, kind), None)
                fresh = open_slot(slot.view.slot, slot.view.tier, slot.view.position)
                retried = slot.view.retried_trial if slot.view.trial_number is None else slot.view.trial_number
                slot.view = replace(
                    fresh, fence=slot.view.fence, started_at=slot.view.started_at, retried_trial=retried
                )
            first = min((slot.view.tier for slot in chosen), default=len(work.campaign.spec.tiers) + 1)
            decisions = {tier: kept for tier, kept in work.campaign.decisions.items() if tier < first}
            spec = work.campaign.spec
            if code is not None:
                spec = replace(spec, fingerprints={**spec.fingerprints, "code": code})
            work.campaign = replace(work.campaign, spec=spec, state=CampaignState.RUNNING, decisions=decisions)
            return work.campaign

    def decide_tier(self, campaign_id: int, tier: int, decision: Mapping[str, Any]) -> Mapping[str, Any]:
        plain = rules.plain_json(decision, "decision")
        with self._lock:
            work = self._of(campaign_id)
            if tier not in {plan.number for plan in work.campaign.spec.tiers}:
                raise rules.no_tier(campaign_id, tier)
            if count := work.num_unfinished(tier):
                raise rules.unfinished(f"tier {tier} cannot be decided", count)
            decisions = {tier: plain, **work.campaign.decisions}
            work.campaign = replace(work.campaign, decisions=dict(sorted(decisions.items())))
            return decisions[tier]

    def complete_campaign(self, campaign_id: int, champion: Mapping[str, Any]) -> Campaign:
        plain = rules.plain_json(champion, "champion")
        with self._lock:
            work = self._of(campaign_id)
            if count := work.num_unfinished():
                raise rules.unfinished(f"the campaign '{work.campaign.name}' cannot be completed", count)
            work.campaign = replace(work.campaign, state=CampaignState.COMPLETE, champion=plain)
            return work.campaign

    def record_checkpoint(self, claim: Claim, record: CheckpointRecord) -> None:
        rules.check_checkpoint(claim, record)
        with self._lock:
            self._held(claim)
            self._of(claim.campaign_id).checkpoints[record.slot, record.kind] = record

    def checkpoints(self, campaign_id: int) -> Sequence[CheckpointRecord]:
        with self._lock:
            return [record for _, record in sorted(self._of(campaign_id).checkpoints.items())]

    def forget_checkpoints(self, campaign_id: int, slots: Collection[int]) -> None:
        with self._lock:
            for slot in slots:
                self._of(campaign_id).checkpoints.pop((slot, "model"), None)

    def count_holdout_opening(self, campaign_id: int) -> int:
        with self._lock:
            work = self._of(campaign_id)
            work.campaign = replace(work.campaign, num_holdout_openings=work.campaign.num_holdout_openings + 1)
            return work.campaign.num_holdout_openings

    def close(self) -> None:
        """Nothing to give back."""

    def _of(self, campaign_id: int) -> _Work:
        if campaign_id not in self._work:
            raise rules.no_campaign(campaign_id)
        return self._work[campaign_id]

    def _held(self, claim: Claim) -> Slot:
        """The claimed slot; LeaseLost if it is not ours any more."""
        slot = self._of(claim.campaign_id).slots[claim.slot - 1]
        if slot.view.state is not SlotState.RUNNING or slot.view.fence != claim.fence:
            raise rules.lease_lost(claim)
        return slot
