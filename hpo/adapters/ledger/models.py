"""The ledger's tables: what `alembic/` migrates to and `PostgresLedger` works on."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSON
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "hpo"

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


class Base(DeclarativeBase):
    """All ledger tables live in the schema `hpo`; every constraint has a name a migration can refer to."""

    metadata = MetaData(schema=SCHEMA, naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        int: Integer(),
        float: DOUBLE_PRECISION(),
        datetime: DateTime(timezone=True),
        # json, not jsonb: the text stays as written, so floats and the order of keys come back exactly.
        # none_as_null: no value is SQL's NULL, which the constraints below speak of.
        dict[str, Any]: JSON(none_as_null=True),
        UUID: PG_UUID(as_uuid=True),
        list[UUID]: ARRAY(PG_UUID(as_uuid=True)),
        list[int]: ARRAY(Integer()),
    }


class CampaignRow(Base):
    """One named search. holdout_openings: a token for each time its holdout was opened."""

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'complete')", name="state"),
        CheckConstraint("state <> 'complete' OR champion IS NOT NULL", name="complete_has_champion"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    config: Mapped[dict[str, Any]]
    fingerprints: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(server_default="running")
    champion: Mapped[dict[str, Any] | None]
    holdout_openings: Mapped[list[UUID]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TierRow(Base):
    """A campaign's tier. num_slots is its share of the budget; as many rows of `slot` stand for it."""

    __tablename__ = "tier"
    __table_args__ = (
        UniqueConstraint("campaign_id", "name"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("num_slots >= 0", name="num_slots"),
        CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name="decided"),
    )

    campaign_id: Mapped[int] = mapped_column(ForeignKey("hpo.campaign.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    num_slots: Mapped[int]
    decision: Mapped[dict[str, Any] | None]
    decided_at: Mapped[datetime | None]


class WorkerRow(Base):
    """A process that works on a campaign, as its host's operating system knows it."""

    __tablename__ = "worker"
    __table_args__ = (UniqueConstraint("campaign_id", "host", "pid", "started"), UniqueConstraint("campaign_id", "id"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("hpo.campaign.id", ondelete="CASCADE"))
    host: Mapped[str]
    pid: Mapped[int]
    started: Mapped[float]
    registered_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SlotRow(Base):
    """One unit of the budget. claim_token: the request that got the newest claim, so that it can be repeated."""

    __tablename__ = "slot"
    __table_args__ = (
        ForeignKeyConstraint(["campaign_id", "tier"], ["hpo.tier.campaign_id", "hpo.tier.number"], ondelete="CASCADE"),
        ForeignKeyConstraint(["campaign_id", "worker_id"], ["hpo.worker.campaign_id", "hpo.worker.id"]),
        UniqueConstraint("campaign_id", "tier", "position"),
        UniqueConstraint("campaign_id", "tier", "trial_number"),
        CheckConstraint("number >= 1 AND position >= 1", name="numbers"),
        CheckConstraint("fence >= 0 AND num_crashes >= 0 AND num_crashes <= fence", name="counters"),
        CheckConstraint("num_losses >= 0 AND num_losses <= fence", name="num_losses"),
        CheckConstraint("state IN ('open', 'running', 'paused', 'done')", name="state"),
        CheckConstraint("outcome IN ('complete', 'pruned', 'failed')", name="outcome"),
        CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="done_has_outcome"),
        CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="done_has_time"),
        CheckConstraint("(state = 'running') = (lease_expires_at IS NOT NULL)", name="running_has_lease"),
        CheckConstraint("state <> 'running' OR worker_id IS NOT NULL", name="running_has_worker"),
        CheckConstraint("state <> 'done' OR outcome = 'failed' OR score IS NOT NULL", name="finished_has_score"),
        CheckConstraint("(trial_number IS NULL) = (run_folder IS NULL)", name="bound"),
        CheckConstraint(
            "state <> 'paused' OR (trial_number IS NOT NULL AND cardinality(pauses) > 0)", name="paused_has_epoch"
        ),
        # What a claim looks for, and nothing else: the unfinished slots in order.
        Index("ix_slot_unfinished", "campaign_id", "tier", "number", postgresql_where=text("state <> 'done'")),
    )

    campaign_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tier: Mapped[int]
    position: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="open")
    outcome: Mapped[str | None]
    trial_number: Mapped[int | None]
    run_folder: Mapped[str | None]
    fence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    num_crashes: Mapped[int] = mapped_column(server_default="0")
    num_losses: Mapped[int] = mapped_column(server_default="0")
    worker_id: Mapped[int | None] = mapped_column(BigInteger)
    claim_token: Mapped[UUID | None]
    epoch: Mapped[int | None]
    score: Mapped[float | None]
    samples_per_second: Mapped[float | None]
    reason: Mapped[str | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    retried_trial: Mapped[int | None]
    pauses: Mapped[list[int]] = mapped_column(server_default=text("'{}'"))


class CheckpointRow(Base):
    """The files that a slot answers for: its model; its result, which lists all others; before it has one, its snapshot
    in the store of artifacts, which does too."""

    __tablename__ = "checkpoint"
    __table_args__ = (
        ForeignKeyConstraint(["campaign_id", "slot"], ["hpo.slot.campaign_id", "hpo.slot.number"], ondelete="CASCADE"),
        CheckConstraint("kind IN ('model', 'result', 'snapshot')", name="kind"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    )

    campaign_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    path: Mapped[str]
    host: Mapped[str]
    home: Mapped[str]
    sha256: Mapped[str]
    score: Mapped[float | None]
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.now())
