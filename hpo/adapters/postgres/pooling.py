"""Servers behind a connection pooler (PgBouncer and its like): whether sessions keep their settings, and what is done
where they do not."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, NullPool, create_engine, event, text
from sqlalchemy.engine import URL, CreateEnginePlugin, Engine
from sqlalchemy.exc import OperationalError

from hpo.adapters.postgres.urls import KEEPALIVE, SCHEMA, place, through_pooler, url_for
from hpo.domain.errors import EnvironmentFault

SHOW = text("SELECT current_setting('search_path')")


class SchemaPlugin(CreateEnginePlugin):
    """Has every statement bring its schema and time zone along, for its own transaction and in the same message.

    A pooler gives each transaction to another session of the server, so that a setting of the session would be lost,
    and would be met by strangers. SQLAlchemy loads the plugin by the URL's word `plugin=tiertune`, in any process
    where this program is installed: a server of MLflow's pages needs nothing more than the URL.
    """

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        schema = str(url.query.get(SCHEMA, "public")).replace("'", "''")
        self._settings = f"SELECT set_config('search_path', '{schema}', true), set_config('timezone', 'UTC', true); "

    def update_url(self, url: URL) -> URL:
        """The URL without our word, which libpq would not know."""
        return url.difference_update_query([SCHEMA])

    def engine_created(self, engine: Engine) -> None:
        """From now on."""
        event.listen(engine, "before_cursor_execute", self._bring_along, retval=True)

    def _bring_along(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        if cursor.name is None:
            return self._settings + statement, parameters
        with cursor.connection.cursor() as first:  # a cursor that lives on the server takes one statement alone
            first.execute(self._settings)
        return statement, parameters


def settled(url: str) -> str:
    """The URL, marked for `SchemaPlugin` where the server's sessions do not keep what they were told.

    Raises:
        EnvironmentFault: the marked URL does not work either, and nothing was written. DBAPIError: the server does
            not answer.
    """
    if _keeps_settings(url):
        return url
    marked = through_pooler(url)
    if not _keeps_settings(marked):
        raise EnvironmentFault(
            f"The {place(url)} is behind a connection pooler that does not let a transaction choose its schema; "
            "use the server's own port, or the pooler's session or transaction mode."
        )
    return marked


def _keeps_settings(url: str) -> bool:
    """Whether a schema that no server has by default is the one that a transaction finds."""
    wanted = f"tiertune_{uuid4().hex[:8]}"
    engine = create_engine(url_for(url, wanted, "tiertune-setup"), poolclass=NullPool, connect_args=KEEPALIVE)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            return bool(connection.scalar(SHOW) == wanted)
    except OperationalError as error:
        if "unsupported startup parameter" in str(error.orig):
            return False
        raise
