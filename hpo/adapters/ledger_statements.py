"""The ledger's statements that several processes contend for."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Update, and_, case, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from hpo.adapters.ledger_models import SlotRow, TierRow
from hpo.domain import Claim


def held(claim: Claim) -> ColumnElement[bool]:
    """The slot's row, as long as the claim is its newest and the slot is not done or given back."""
    return and_(
        SlotRow.campaign_id == claim.campaign_id,
        SlotRow.number == claim.slot,
        SlotRow.fence == claim.fence,
        SlotRow.state == "running",
    )


def claim_slot(campaign_id: int, worker_id: int, lease: timedelta, token: UUID) -> Update:
    """Take the lowest free slot of the first unfinished tier, in one statement; returns its row.

    Two workers never get the same slot: the inner SELECT locks the row it finds and steps over rows others have
    locked. `now()` is the database's, so workers' clocks do not matter.
    """
    candidate = aliased(SlotRow)
    tier = (
        select(func.min(SlotRow.tier))
        .where(SlotRow.campaign_id == campaign_id, SlotRow.state != "done")
        .scalar_subquery()
    )
    undecided = exists().where(TierRow.campaign_id == campaign_id, TierRow.number < tier, TierRow.decided_at.is_(None))
    free = or_(
        candidate.state == "open",
        and_(candidate.state == "running", candidate.lease_expires_at < func.now()),
    )
    number = (
        select(candidate.number)
        # `state <> 'done'` follows from `free`; spelt out, it lets the partial index serve.
        .where(candidate.campaign_id == campaign_id, candidate.tier == tier, candidate.state != "done", free)
        .where(~undecided)
        .order_by(candidate.number)
        .limit(1)
        .with_for_update(skip_locked=True, of=candidate)
        .scalar_subquery()
    )
    return (
        update(SlotRow)
        .where(SlotRow.campaign_id == campaign_id, SlotRow.number == number)
        .values(
            state="running",
            fence=SlotRow.fence + 1,
            num_crashes=SlotRow.num_crashes + case((SlotRow.state == "running", 1), else_=0),
            worker_id=worker_id,
            claim_token=token,
            lease_expires_at=func.now() + lease,
            started_at=func.coalesce(SlotRow.started_at, func.now()),
        )
        .returning(SlotRow)
    )
