"""The one database of a search: embedded or the user's own, with the schemas `optuna`, `mlflow` and `hpo`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from alembic.util import CommandError
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, SADeprecationWarning

from hpo.adapters.postgres import migrations_runner
from hpo.adapters.postgres.embedded import EmbeddedPostgres
from hpo.adapters.postgres.pooling import settled
from hpo.adapters.postgres.refusals import READ_ONLY_REMEDY, is_refusal, unusable
from hpo.adapters.postgres.retry import Patience, advisory_lock, is_temporary, is_there, leave_replicas
from hpo.adapters.postgres.urls import KEEPALIVE, canonical, place, url_for
from hpo.adapters.processes.clock import SystemClock
from hpo.domain.errors import EnvironmentFault

SCHEMAS = ("optuna", "mlflow", "hpo")
MIN_VERSION = 14
SETUP_LOCK = 0x74696572
"""Key of the advisory lock under which tables are made: two processes creating them at once collide."""
INSUFFICIENT_PRIVILEGE = "42501"


class Database:
    """A usable database. Close it (or leave its `with`) to let the embedded server stop with its last user."""

    def __init__(self, url: str, embedded: EmbeddedPostgres | None = None) -> None:
        self.url = canonical(url)
        self._embedded = embedded

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_embedded(self) -> bool:
        return self._embedded is not None

    def describe(self) -> str:
        """The server in a few words, for people; no user, no password."""
        engine = engine_for(self.url)
        with engine.connect() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
        engine.dispose()
        kind = "embedded PostgreSQL" if self.is_embedded else f"the {place(self.url)}, PostgreSQL"
        return f"{kind} {str(version).split()[0]}"

    def url_for(self, schema: str) -> str:
        """The URL for a library whose tables are in `schema`; it holds the password if there is one."""
        return url_for(self.url, schema)

    def keep(self) -> None:
        """Leave the embedded server up for other tools; nothing for a server of the user's own."""
        if self._embedded is not None:
            self._embedded.keep()

    def revive(self) -> None:
        """Start the embedded server again if it was killed; nothing for a server of the user's own."""
        if self._embedded is not None:
            self._embedded.revive()

    def close(self) -> None:
        """Stop using the database."""
        if self._embedded is not None:
            self._embedded.release()


def open_database(home: Path, url: str | None = None, was_there: bool = False) -> Database:
    """The database at `url` (`HPO_DATABASE_URL`), or the embedded one below `home`; ready for use.

    was_there: see `prepare`.

    Raises:
        UsageError: the URL is not a PostgreSQL one.
        EnvironmentFault: the server does not answer, is too old, or does not let us make what we need.
    """
    embedded = None if url else EmbeddedPostgres(home)
    if embedded is None:
        address = canonical(url or "")
        database = Database(_first_contact(address, was_there).run(lambda _: settled(address)))
    else:
        database = Database(embedded.acquire(), embedded)
    try:
        prepare(database.url, was_there)
    except BaseException:
        database.close()
        raise
    return database


def engine_for(url: str, application: str = "tiertune", pool_size: int = 1, max_overflow: int = 0) -> Engine:
    """An engine on UTC that notices a silent server. A connection that was dropped shows when it is used: wrap it in
    `retry.PatientEngine`, which goes on with another."""
    engine = create_engine(
        url_for(url, application=application),
        pool_size=pool_size,
        max_overflow=max_overflow,
        connect_args=KEEPALIVE,
    )
    leave_replicas(engine)
    return engine


def prepare(url: str, was_there: bool = False) -> None:
    """Make the schemas and the tables of Optuna and the ledger, or bring them up to date. Repeating is harmless, and
    done when a server that has answered goes away.

    was_there: the server has answered somebody a moment ago, so that one that is away is waited for.

    MLflow's tables are left to `prepare_mlflow`, because importing MLflow takes seconds.
    """
    Patience(url, SystemClock()).run(lambda repeated: _prepare(url, was_there or repeated))


def _prepare(url: str, was_there: bool) -> None:
    with setup_lock(url, was_there) as engine:
        with engine.begin() as connection:
            _check_version(connection, url)
            if not was_there:
                _check_writable(connection, url)
            _create_schemas(connection, url)
            migrations_runner.upgrade(connection)
            is_complete = _has_optuna_tables(connection)
        if not is_complete:
            # Imported here: with tables in place, which is nearly always, no command waits for Optuna.
            from hpo.adapters.optuna.study_storage import study_storage

            study_storage(url, create_tables=True).engine.dispose()


def prepare_mlflow(url: str) -> None:
    """Make MLflow's tables or bring them up to date. Repeating is harmless; takes seconds.

    Raises:
        EnvironmentFault: a newer MLflow made the tables.
    """
    # Imported here: MLflow takes seconds, and most commands never need it.
    from hpo.adapters.mlflow.quiet import store_utils

    with setup_lock(url):
        engine = create_engine(url_for(url, "mlflow", "tiertune-setup"), poolclass=NullPool)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SADeprecationWarning)  # MLflow's models speak an older SQLAlchemy
                store_utils._safe_initialize_tables(engine)
                store_utils._upgrade_db(engine)  # type: ignore[no-untyped-call]  # what `mlflow db upgrade` calls
        except CommandError as error:
            raise EnvironmentFault(
                f"MLflow does not know its tables in the {place(url)} ({error}); "
                "a newer MLflow made them: use that one."
            ) from error
        except DBAPIError as error:
            if not is_refusal(error):
                raise
            raise unusable(url, error.orig or error) from error


@contextmanager
def setup_lock(url: str, was_there: bool = False) -> Iterator[Engine]:
    """An engine for set-up work while its lock is held; other processes wait. A server that is full is waited for, and
    one that is away if it was there a moment ago.

    Raises:
        EnvironmentFault: the server cannot be reached; the text names it without its password.
    """
    engine = create_engine(url_for(url, application="tiertune-setup"), poolclass=NullPool, connect_args=KEEPALIVE)
    with advisory_lock(engine, SETUP_LOCK, _first_contact(url, was_there), SystemClock()):
        yield engine


def _first_contact(url: str, was_there: bool) -> Patience:
    return Patience(url, SystemClock(), passing=is_temporary if was_there else is_there)


def _has_optuna_tables(connection: Connection) -> bool:
    """Whether Optuna's set-up went through: naming its revision is the last thing it does."""
    if connection.scalar(text("SELECT to_regclass('optuna.alembic_version')")) is None:
        return False
    return bool(connection.scalar(text("SELECT count(*) FROM optuna.alembic_version")))


def _check_version(connection: Connection, url: str) -> None:
    number = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
    if number < MIN_VERSION * 10_000:
        raise EnvironmentFault(
            f"The {place(url)} is served by PostgreSQL {number // 10_000}; version {MIN_VERSION} or newer is needed."
        )


def _check_writable(connection: Connection, url: str) -> None:
    if connection.scalar(text("SHOW transaction_read_only")) == "on":
        raise EnvironmentFault(f"The {place(url)} takes no writes. {READ_ONLY_REMEDY}.")


def _create_schemas(connection: Connection, url: str) -> None:
    present = set(connection.execute(text("SELECT nspname FROM pg_namespace")).scalars())
    for schema in SCHEMAS:
        if schema in present:
            continue  # IF NOT EXISTS would ask for the right to create it all the same
        try:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != INSUFFICIENT_PRIVILEGE:
                raise
            raise EnvironmentFault(
                f"The user may not create the schema '{schema}' in the {place(url)}; let its owner run: "
                f"CREATE SCHEMA {schema} AUTHORIZATION <user>, for each of {', '.join(SCHEMAS)}."
            ) from error
