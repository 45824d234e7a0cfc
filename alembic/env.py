"""Runs the ledger's migrations in the schema `hpo`, beside the tables of Optuna and MLflow."""

from __future__ import annotations

from alembic import context

from hpo.adapters.ledger.models import SCHEMA, Base


def ours(name: str | None, kind: str, parent_names: object) -> bool:
    """Autogenerate sees our schema alone: other schemas' tables are never proposed to be dropped."""
    return kind != "schema" or name == SCHEMA


def run() -> None:
    """Migrate over the connection that `hpo.adapters.postgres.migrations_runner` passes in, in one transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=ours,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
