"""Recorded files: paths relative to the state folder, and the result of every finished trial beside its checkpoint."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KIND = "ck_checkpoint_kind"


def upgrade() -> None:
    op.add_column("checkpoint", sa.Column("home", sa.Text(), server_default="", nullable=False), schema="hpo")
    op.execute(
        "UPDATE hpo.checkpoint SET home = regexp_replace(path, '/runs/[^/]+/slot-[^/]+/.*$', ''), "
        "path = substring(path from '/(runs/[^/]+/slot-[^/]+/.*)$') WHERE path ~ '/runs/[^/]+/slot-[^/]+/'"
    )
    op.alter_column("checkpoint", "home", server_default=None, schema="hpo")
    op.drop_constraint(op.f(_KIND), "checkpoint", schema="hpo")
    op.execute("DELETE FROM hpo.checkpoint WHERE kind <> 'model'")
    op.create_check_constraint(op.f(_KIND), "checkpoint", "kind IN ('model', 'result')", schema="hpo")


def downgrade() -> None:
    op.drop_constraint(op.f(_KIND), "checkpoint", schema="hpo")
    op.execute("DELETE FROM hpo.checkpoint WHERE kind <> 'model'")
    op.create_check_constraint(op.f(_KIND), "checkpoint", "kind IN ('model', 'last')", schema="hpo")
    op.execute("UPDATE hpo.checkpoint SET path = home || '/' || path WHERE home <> ''")
    op.drop_column("checkpoint", "home", schema="hpo")
