"""One slot of the ledger in memory, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from hpo.domain.campaign import Claim, SlotState, SlotView


@dataclass
class Slot:
    """A slot's view, which holds all but the worker's id."""

    view: SlotView
    worker_id: int | None = None


def open_slot(number: int, tier: int, position: int) -> SlotView:
    return SlotView(
        slot=number,
        tier=tier,
        position=position,
        state=SlotState.OPEN,
        outcome=None,
        trial_number=None,
        fence=0,
        num_crashes=0,
        worker=None,
        epoch=None,
        score=None,
        samples_per_second=None,
        reason=None,
        started_at=None,
        finished_at=None,
        lease_expires_at=None,
    )


def claim_on(campaign_id: int, slot: Slot) -> Claim:
    if slot.worker_id is None:
        raise ValueError(f"slot {slot.view.slot} is claimed by nobody")
    view = slot.view
    return Claim(
        campaign_id,
        view.slot,
        view.tier,
        view.position,
        view.fence,
        slot.worker_id,
        view.trial_number,
        view.num_crashes,
        view.num_losses,
        view.retried_trial,
        view.pauses,
    )


def is_free(slot: Slot, now: datetime) -> bool:
    """Whether it can be claimed now."""
    expires = slot.view.lease_expires_at
    return slot.view.state in (SlotState.OPEN, SlotState.PAUSED) or (expires is not None and expires < now)


def turn(slot: Slot) -> tuple[int, int]:
    """Where a slot stands among those that can be claimed."""
    is_paused = slot.view.state is SlotState.PAUSED
    return (slot.view.pauses[-1] if is_paused else 0), slot.view.slot


def reopen(slot: Slot, num_crashes: int = 0, num_losses: int = 0) -> None:
    """Open the slot again, so many crashes and losses richer."""
    slot.worker_id = None
    slot.view = replace(
        slot.view,
        state=SlotState.OPEN,
        worker=None,
        lease_expires_at=None,
        num_crashes=slot.view.num_crashes + num_crashes,
        num_losses=slot.view.num_losses + num_losses,
    )
