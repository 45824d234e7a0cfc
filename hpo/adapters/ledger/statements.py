"""The statements the Postgres ledger is made of; each runs within its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.util import AliasedClass
from sqlalchemy.sql.dml import ReturningInsert

from hpo.adapters.ledger.models import CampaignRow, CheckpointRow, SlotRow, TierRow, WorkerRow
from hpo.adapters.ledger.rows import to_campaign, to_view
from hpo.domain import ledger_rules as rules
from hpo.domain.campaign import Campaign, CheckpointRecord, Claim, Progress, SlotView, TierPlan

NO_WAIT = func.set_config("synchronous_commit", "off", True) == "off"
"""A condition that is always true: its statement does not wait for the disk. For renewals alone: if the server crashes
within a second after one, the lease ends as early as before it, and the fence sees to the rest."""

FORGOTTEN = ("outcome", "score", "reason", "finished_at", "trial_number", "run_folder", "worker_id", "epoch")
"""Columns of a slot that say how its trial went."""


def held(claim: Claim) -> ColumnElement[bool]:
    """The slot's row, as long as the claim is its newest and the slot is not done or given back."""
    return and_(
        SlotRow.campaign_id == claim.campaign_id,
        SlotRow.number == claim.slot,
        SlotRow.fence == claim.fence,
        SlotRow.state == "running",
    )


def claim_slot(campaign_id: int, worker_id: int, lease: timedelta, token: UUID) -> Update:
    """Take the lowest free slot of the first unfinished tier, in one statement; returns its row. Paused ones come after
    all others.

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
    is_paused = candidate.state == "paused"
    free = or_(
        candidate.state == "open",
        is_paused,
        and_(candidate.state == "running", candidate.lease_expires_at < func.now()),
    )
    number = (
        select(candidate.number)
        # `state <> 'done'` follows from `free`; spelt out, it lets the partial index serve.
        .where(candidate.campaign_id == campaign_id, candidate.tier == tier, candidate.state != "done", free)
        .where(~undecided)
        .order_by(case((is_paused, last_pause(candidate)), else_=0), candidate.number)
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
            num_losses=SlotRow.num_losses + case((SlotRow.state == "running", 1), else_=0),
            worker_id=worker_id,
            claim_token=token,
            lease_expires_at=func.now() + lease,
            started_at=func.coalesce(SlotRow.started_at, func.now()),
        )
        .returning(SlotRow)
    )


def last_pause(slot: type[SlotRow] | AliasedClass[SlotRow]) -> ColumnElement[int]:
    """The epoch after which a paused slot waits."""
    return slot.pauses[func.cardinality(slot.pauses)]


def read_campaign(session: Session, row: CampaignRow) -> Campaign:
    """The campaign with its tiers."""
    return to_campaign(row, session.scalars(select(TierRow).where(TierRow.campaign_id == row.id)).all())


def lock_campaign(session: Session, campaign_id: int) -> CampaignRow:
    """Budget, decisions and completion change one after the other."""
    row = session.get(CampaignRow, campaign_id, with_for_update=True)
    if row is None:
        raise rules.no_campaign(campaign_id)
    return row


def add_tiers(session: Session, campaign_id: int, tiers: Sequence[TierPlan]) -> None:
    """The tiers of a new campaign with their slots."""
    total = 0
    for tier in tiers:
        session.add(TierRow(campaign_id=campaign_id, number=tier.number, name=tier.name, num_slots=tier.num_slots))
        session.flush()
        add_slots(session, campaign_id, tier.number, total, 0, tier.num_slots)
        total += tier.num_slots


def add_slots(session: Session, campaign_id: int, tier: int, number: int, position: int, count: int) -> None:
    """Append `count` open slots after the given number (in the campaign) and position (in the tier)."""
    session.flush()  # the tier's row comes first
    rows = [
        {"campaign_id": campaign_id, "tier": tier, "number": number + step, "position": position + step}
        for step in range(1, count + 1)
    ]
    if rows:
        session.execute(insert(SlotRow), rows)


def change(connection: Connection, claim: Claim, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Update the claimed slot; False, and nothing changed, if it is not ours any more or fails a condition."""
    statement = update(SlotRow).where(held(claim), *conditions).values(**values).returning(SlotRow.number)
    return connection.scalar(statement) is not None


def noted(progress: Progress) -> dict[str, Any]:
    """The columns that a progress changes: a new epoch shows that the trial can be trained, whatever died before it."""
    is_new = func.coalesce(SlotRow.epoch, 0) < progress.epoch
    return {
        "epoch": progress.epoch,
        "score": progress.score,
        "samples_per_second": progress.samples_per_second,
        "num_crashes": case((is_new, 0), else_=SlotRow.num_crashes),
        "num_losses": case((is_new, 0), else_=SlotRow.num_losses),
    }


def reopen(session: Session, campaign_id: int, slots: Collection[int]) -> None:
    """Open FAILED slots again; forget their files and what was decided on their outcome. ValueError for others."""
    failed = SlotRow.campaign_id == campaign_id, SlotRow.number.in_(slots), SlotRow.outcome == "failed"
    tiers = session.scalars(select(SlotRow.tier).where(*failed)).all()
    if len(tiers) != len(set(slots)):
        raise rules.not_failed(slots)
    session.execute(
        update(SlotRow)
        .where(*failed)
        .values(
            **dict.fromkeys(FORGOTTEN),
            state="open",
            num_crashes=0,
            num_losses=0,
            pauses=[],
            retried_trial=func.coalesce(SlotRow.trial_number, SlotRow.retried_trial),
        )
    )
    session.execute(
        delete(CheckpointRow).where(CheckpointRow.campaign_id == campaign_id, CheckpointRow.slot.in_(slots))
    )
    if tiers:
        later = TierRow.campaign_id == campaign_id, TierRow.number >= min(tiers)
        session.execute(update(TierRow).where(*later).values(decision=None, decided_at=None))


def read_slots(session: Session, campaign_id: int) -> list[SlotView]:
    """The campaign's slots by number, each with its worker."""
    rows = session.execute(
        select(SlotRow, WorkerRow)
        .outerjoin(WorkerRow, WorkerRow.id == SlotRow.worker_id)
        .where(SlotRow.campaign_id == campaign_id)
        .order_by(SlotRow.number)
    )
    return [to_view(slot, worker) for slot, worker in rows]


def all_open(session: Session, campaign_id: int, slots: Collection[int]) -> bool:
    """Whether all of these slots are open."""
    count = select(func.count()).where(SlotRow.campaign_id == campaign_id, SlotRow.number.in_(slots))
    return session.scalars(count.where(SlotRow.state == "open")).one() == len(set(slots))


def put_checkpoint(claim: Claim, record: CheckpointRecord) -> ReturningInsert[int]:
    """Insert or replace the record as long as the slot is ours; returns its number then."""
    columns = {
        CheckpointRow.campaign_id: SlotRow.campaign_id,
        CheckpointRow.slot: SlotRow.number,
        CheckpointRow.kind: literal(record.kind),
        CheckpointRow.epoch: literal(record.epoch),
        CheckpointRow.path: literal(record.path),
        CheckpointRow.host: literal(record.host),
        CheckpointRow.home: literal(record.home),
        CheckpointRow.sha256: literal(record.sha256),
        CheckpointRow.score: literal(record.score, CheckpointRow.score.type),
    }
    # The lock keeps the slot ours until the row is written.
    ours = select(*columns.values()).where(held(claim)).with_for_update(of=SlotRow)
    insertion = upsert(CheckpointRow).from_select(list(columns), ours)
    replaced = {name: insertion.excluded[name] for name in ("epoch", "path", "host", "home", "sha256", "score")}
    return insertion.on_conflict_do_update(
        index_elements=["campaign_id", "slot", "kind"], set_={**replaced, "recorded_at": func.now()}
    ).returning(CheckpointRow.slot)


def state_left(connection: Connection, claim: Claim) -> str | None:
    """The slot's state if nobody has claimed it since."""
    return connection.scalar(
        select(SlotRow.state).where(
            SlotRow.campaign_id == claim.campaign_id, SlotRow.number == claim.slot, SlotRow.fence == claim.fence
        )
    )


def num_unfinished(session: Session, campaign_id: int, tier: int | None = None) -> int:
    """How many slots of the tier, or of the campaign, are not done."""
    count = select(func.count()).where(SlotRow.campaign_id == campaign_id, SlotRow.state != "done")
    return session.scalars(count if tier is None else count.where(SlotRow.tier == tier)).one()
