"""Slots tell a trial's own crashes from workers that were lost, and may be tried again after a failure."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("slot", sa.Column("num_losses", sa.Integer(), server_default="0", nullable=False), schema="hpo")
    op.add_column("slot", sa.Column("retried_trial", sa.Integer(), nullable=True), schema="hpo")
    op.create_check_constraint(
        op.f("ck_slot_num_losses"), "slot", "num_losses >= 0 AND num_losses <= fence", schema="hpo"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_slot_num_losses"), "slot", schema="hpo", type_="check")
    op.drop_column("slot", "retried_trial", schema="hpo")
    op.drop_column("slot", "num_losses", schema="hpo")
