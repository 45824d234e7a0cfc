"""What must hold in a ledger at every moment: the questions `hpo doctor` and the tests ask after a fault."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from hpo.domain.campaign import Campaign, CampaignState, Outcome, SlotState, SlotView
from hpo.domain.ports import Ledger


def invariants(ledger: Ledger, campaign_id: int) -> list[str]:
    """One sentence for each breach; empty when all is well. Reads only, through the ledger's own methods.

    A search that is under way may finish a slot between two of these reads, so a breach that does not show twice
    in a row is none.
    """
    campaign = next((found for found in ledger.campaigns() if found.id == campaign_id), None)
    if campaign is None:
        return [f"there is no campaign with the id {campaign_id}"]
    slots = ledger.slots(campaign_id)
    known = {slot.slot for slot in slots}
    orphans = [record for record in ledger.checkpoints(campaign_id) if record.slot not in known]
    return [
        *_budget(campaign, slots),
        *(breach for slot in slots for breach in _slot(slot)),
        *_trials(slots),
        *_order(campaign, slots),
        *(f"a checkpoint at {record.path} belongs to slot {record.slot}, which does not exist" for record in orphans),
    ]


def _budget(campaign: Campaign, slots: Sequence[SlotView]) -> Iterator[str]:
    """Finished and open slots together are the budget, numbered without gaps."""
    if [slot.slot for slot in slots] != list(range(1, campaign.spec.budget + 1)):
        yield f"the budget is {campaign.spec.budget}, the slots are {[slot.slot for slot in slots]}"
    for tier in campaign.spec.tiers:
        positions = [slot.position for slot in slots if slot.tier == tier.number]
        if positions != list(range(1, tier.num_slots + 1)):
            yield f"tier {tier.number} has {tier.num_slots} slots by plan, positions {positions} in fact"


def _slot(slot: SlotView) -> Iterator[str]:
    """The fields of a slot agree with its state."""
    running, done = slot.state is SlotState.RUNNING, slot.state is SlotState.DONE
    facts = {
        "is RUNNING exactly when it has a lease": running == (slot.lease_expires_at is not None),
        "has a worker while it is RUNNING": slot.worker is not None or not running,
        "has no worker while it is OPEN or PAUSED": slot.worker is None
        or slot.state not in (SlotState.OPEN, SlotState.PAUSED),
        "has a trial and an epoch to go on after while it is PAUSED": slot.state is not SlotState.PAUSED
        or (slot.trial_number is not None and bool(slot.pauses)),
        "was claimed at least as often as it paused": len(slot.pauses) <= slot.fence,
        "is DONE exactly when it has an outcome": done == (slot.outcome is not None),
        "is DONE exactly when it has an end": done == (slot.finished_at is not None),
        "has a finite score once it finished": slot.outcome in (None, Outcome.FAILED)
        or (slot.score is not None and math.isfinite(slot.score)),
        "was claimed at least as often as it crashed": 0 <= slot.num_crashes <= slot.fence,
        "was claimed at least as often as its worker was lost": 0 <= slot.num_losses <= slot.fence,
        "was claimed if it is not OPEN": slot.fence > 0 or slot.state is SlotState.OPEN,
        "has started if it was claimed": (slot.fence > 0) == (slot.started_at is not None),
        "has a run folder exactly when it has a trial": (slot.trial_number is None) == (slot.run_folder is None),
    }
    for fact, holds in facts.items():
        if not holds:
            yield f"not true of slot {slot.slot}: it {fact} ({slot})"


def _trials(slots: Sequence[SlotView]) -> Iterator[str]:
    """A trial belongs to one slot of its tier (its Optuna study)."""
    bound = sorted((slot.tier, slot.trial_number, slot.slot) for slot in slots if slot.trial_number is not None)
    for (tier, trial), owners in groupby(bound, key=lambda row: row[:2]):
        numbers = [owner[2] for owner in owners]
        if len(numbers) > 1:
            yield f"trial {trial} of tier {tier} belongs to the slots {numbers}"


def _order(campaign: Campaign, slots: Sequence[SlotView]) -> Iterator[str]:
    """Tiers run one after the other; decisions and champions are about finished work."""
    unfinished = {slot.tier for slot in slots if slot.state is not SlotState.DONE}
    touched = {slot.tier for slot in slots if slot.fence > 0}
    retried = min((slot.tier for slot in slots if slot.retried_trial is not None), default=len(campaign.spec.tiers))
    for tier in touched:  # where a slot was tried again, the later tiers had begun on an earlier decision
        waiting = [number for number in range(1, min(tier, retried)) if number not in campaign.decisions]
        if waiting:
            yield f"tier {tier} was begun while the tiers {waiting} have no decision"
    for tier in unfinished & set(campaign.decisions):
        yield f"tier {tier} has a decision and unfinished slots"
    if campaign.state is CampaignState.COMPLETE and (unfinished or campaign.champion is None):
        yield f"the campaign is COMPLETE with unfinished tiers {sorted(unfinished)}, champion {campaign.champion}"
