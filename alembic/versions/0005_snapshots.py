"""The ledger may answer for a snapshot: what of an unfinished trial lies in the store of artifacts."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_KIND = "ck_checkpoint_kind"


def upgrade() -> None:
    op.drop_constraint(op.f(_KIND), "checkpoint", schema="hpo")
    op.create_check_constraint(op.f(_KIND), "checkpoint", "kind IN ('model', 'result', 'snapshot')", schema="hpo")


def downgrade() -> None:
    op.execute("DELETE FROM hpo.checkpoint WHERE kind = 'snapshot'")
    op.drop_constraint(op.f(_KIND), "checkpoint", schema="hpo")
    op.create_check_constraint(op.f(_KIND), "checkpoint", "kind IN ('model', 'result')", schema="hpo")
