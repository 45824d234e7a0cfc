"""Brings the schema `hpo` to the newest revision of `alembic/`, or to any other."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from hpo.adapters.ledger.models import SCHEMA
from hpo.domain.errors import EnvironmentFault

MIGRATIONS = Path(__file__).parent / "migrations"
"""A link to the folder `alembic` at the root of the source, so that the migrations travel inside the package."""


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; it is given a connection, never a URL, so no password passes through it."""
    made = Config()
    # Alembic interpolates its settings: a percent sign in the path stands for itself only when doubled.
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def head() -> str:
    """The newest revision this version of the program knows."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    if newest is None:
        raise EnvironmentFault(f"The migrations are missing from {MIGRATIONS}; install the program again.")
    return newest


def current(connection: Connection) -> str | None:
    """The database's revision, None before the first migration."""
    return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Migrate up, in the connection's transaction if it has begun one, otherwise in one of its own.

    Raises:
        EnvironmentFault: the database was migrated by a newer version of this program.
    """
    try:
        command.upgrade(config(connection), revision)
    except CommandError as error:
        raise EnvironmentFault(
            f"The ledger's tables are at revision '{current(connection)}', which this version does not know; "
            "a newer version of the program made them: use that one."
        ) from error


def downgrade(connection: Connection, revision: str) -> None:
    """Migrate down, in the connection's transaction if it has begun one, otherwise in one of its own."""
    command.downgrade(config(connection), revision)
