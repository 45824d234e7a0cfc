"""Runs the ledger's migrations in the schema `hpo`, beside the tables of Optuna and MLflow."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection

from hpo.adapters.ledger.models import SCHEMA, Base


def ours(name: str | None, kind: str, parent_names: object) -> bool:
    """Autogenerate sees our schema alone: other schemas' tables are never proposed to be dropped."""
    return kind != "schema" or name == SCHEMA


def run(connection: Connection) -> None:
    """What the command does, in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=ours,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_on_the_projects_database() -> None:
    """For `alembic current`, `alembic revision --autogenerate` and the like, typed in a checkout: on what `hpo setup`
    made there. Nothing is migrated on the way."""
    from hpo.adapters.postgres.database import Database, engine_for
    from hpo.adapters.postgres.embedded import EmbeddedPostgres
    from hpo.wiring import home_folder

    url = os.environ.get("HPO_DATABASE_URL")
    embedded = None if url else EmbeddedPostgres(home_folder())
    with Database(url or "") if embedded is None else Database(embedded.acquire(), embedded) as database:
        engine = engine_for(database.url)
        with engine.begin() as connection:
            run(connection)
        engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    run_on_the_projects_database()
else:
    run(given)
