"""A slot may be PAUSED: its checkpoint is kept, and it is claimed again later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_STATE, _PAUSED = "ck_slot_state", "ck_slot_paused_has_epoch"


def upgrade() -> None:
    op.add_column(
        "slot",
        sa.Column("pauses", sa.ARRAY(sa.Integer()), server_default=sa.text("'{}'"), nullable=False),
        schema="hpo",
    )
    op.drop_constraint(op.f(_STATE), "slot", schema="hpo")
    op.create_check_constraint(op.f(_STATE), "slot", "state IN ('open', 'running', 'paused', 'done')", schema="hpo")
    op.create_check_constraint(
        op.f(_PAUSED),
        "slot",
        "state <> 'paused' OR (trial_number IS NOT NULL AND cardinality(pauses) > 0)",
        schema="hpo",
    )


def downgrade() -> None:
    op.execute("UPDATE hpo.slot SET state = 'open' WHERE state = 'paused'")
    op.drop_constraint(op.f(_PAUSED), "slot", schema="hpo")
    op.drop_constraint(op.f(_STATE), "slot", schema="hpo")
    op.create_check_constraint(op.f(_STATE), "slot", "state IN ('open', 'running', 'done')", schema="hpo")
    op.drop_column("slot", "pauses", schema="hpo")
