"""The ledger's tables: campaign, tier, worker, slot, checkpoint."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_campaign()
    _create_tier()
    _create_worker()
    _create_slot()
    _create_checkpoint()


def downgrade() -> None:
    op.drop_table("checkpoint", schema="hpo")
    op.drop_index("ix_slot_unfinished", table_name="slot", schema="hpo", postgresql_where=sa.text("state <> 'done'"))
    op.drop_table("slot", schema="hpo")
    op.drop_table("worker", schema="hpo")
    op.drop_table("tier", schema="hpo")
    op.drop_table("campaign", schema="hpo")


def _create_campaign() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("fingerprints", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("champion", sa.JSON(), nullable=True),
        sa.Column("holdout_openings", sa.ARRAY(sa.UUID()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state <> 'complete' OR champion IS NOT NULL", name=op.f("ck_campaign_complete_has_champion")
        ),
        sa.CheckConstraint("state IN ('running', 'complete')", name=op.f("ck_campaign_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
        schema="hpo",
    )


def _create_tier() -> None:
    op.create_table(
        "tier",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("num_slots", sa.Integer(), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name=op.f("ck_tier_decided")),
        sa.CheckConstraint("num_slots >= 0", name=op.f("ck_tier_num_slots")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_tier_number")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["hpo.campaign.id"], name=op.f("fk_tier_campaign_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("campaign_id", "number", name=op.f("pk_tier")),
        sa.UniqueConstraint("campaign_id", "name", name=op.f("uq_tier_campaign_id_name")),
        schema="hpo",
    )


def _create_worker() -> None:
    op.create_table(
        "worker",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["hpo.campaign.id"], name=op.f("fk_worker_campaign_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
        sa.UniqueConstraint(
            "campaign_id", "host", "pid", "started", name=op.f("uq_worker_campaign_id_host_pid_started")
        ),
        sa.UniqueConstraint("campaign_id", "id", name=op.f("uq_worker_campaign_id_id")),
        schema="hpo",
    )


def _create_slot() -> None:
    op.create_table(
        "slot",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("trial_number", sa.Integer(), nullable=True),
        sa.Column("run_folder", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("num_crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=True),
        sa.Column("claim_token", sa.UUID(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("score", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("samples_per_second", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name=op.f("ck_slot_done_has_time")),
        sa.CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name=op.f("ck_slot_done_has_outcome")),
        sa.CheckConstraint(
            "(state = 'running') = (lease_expires_at IS NOT NULL)", name=op.f("ck_slot_running_has_lease")
        ),
        sa.CheckConstraint("outcome IN ('complete', 'pruned', 'failed')", name=op.f("ck_slot_outcome")),
        sa.CheckConstraint(
            "state <> 'done' OR outcome = 'failed' OR score IS NOT NULL", name=op.f("ck_slot_finished_has_score")
        ),
        sa.CheckConstraint("state <> 'running' OR worker_id IS NOT NULL", name=op.f("ck_slot_running_has_worker")),
        sa.CheckConstraint("state IN ('open', 'running', 'done')", name=op.f("ck_slot_state")),
        sa.CheckConstraint("(trial_number IS NULL) = (run_folder IS NULL)", name=op.f("ck_slot_bound")),
        sa.CheckConstraint("fence >= 0 AND num_crashes >= 0 AND num_crashes <= fence", name=op.f("ck_slot_counters")),
        sa.CheckConstraint("number >= 1 AND position >= 1", name=op.f("ck_slot_numbers")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "tier"],
            ["hpo.tier.campaign_id", "hpo.tier.number"],
            name=op.f("fk_slot_campaign_id_tier"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "worker_id"],
            ["hpo.worker.campaign_id", "hpo.worker.id"],
            name=op.f("fk_slot_campaign_id_worker_id"),
        ),
        sa.PrimaryKeyConstraint("campaign_id", "number", name=op.f("pk_slot")),
        sa.UniqueConstraint("campaign_id", "tier", "position", name=op.f("uq_slot_campaign_id_tier_position")),
        sa.UniqueConstraint("campaign_id", "tier", "trial_number", name=op.f("uq_slot_campaign_id_tier_trial_number")),
        schema="hpo",
    )
    op.create_index(
        "ix_slot_unfinished",
        "slot",
        ["campaign_id", "tier", "number"],
        unique=False,
        schema="hpo",
        postgresql_where=sa.text("state <> 'done'"),
    )


def _create_checkpoint() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("score", sa.DOUBLE_PRECISION(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('model', 'last')", name=op.f("ck_checkpoint_kind")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_checkpoint_sha256")),
        sa.ForeignKeyConstraint(
            ["campaign_id", "slot"],
            ["hpo.slot.campaign_id", "hpo.slot.number"],
            name=op.f("fk_checkpoint_campaign_id_slot"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("campaign_id", "slot", "kind", name=op.f("pk_checkpoint")),
        schema="hpo",
    )
