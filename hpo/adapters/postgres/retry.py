"""Patience with a database: which errors pass by themselves, and how long they are waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine, event, func, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from hpo.adapters.postgres.refusals import READ_ONLY, READ_ONLY_REMEDY, code_of, is_refusal, unusable
from hpo.adapters.postgres.urls import place
from hpo.domain.errors import StoreUnavailable
from hpo.domain.ports import Clock
from hpo.domain.redaction import redact_error

Result = TypeVar("Result")

PATIENCE = timedelta(seconds=90)
"""Survives a server's restart of half a minute with room to spare."""
FIRST_PAUSE = timedelta(milliseconds=50)
LONGEST_PAUSE = timedelta(seconds=3)
LOCK_PAUSE = timedelta(milliseconds=100)

TEMPORARY_CODES = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53200": "the server is out of memory",
    "53300": "too many connections",
    "55P03": "a lock was not free in time",
    "57014": "the statement took too long",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed and restarts",
    "57P03": "the server is starting up",
    "08000": "connection error",
    "08001": "connection refused",
    "08003": "connection is gone",
    "08006": "connection failed",
}
"""SQLSTATE -> meaning (PostgreSQL manual, appendix A)."""

CROWDED_WORDS = (
    "too many clients",
    "too many connections",
    "no more connections allowed",
    "remaining connection slots",
    "starting up",
    "shutting down",
    "not yet accepting connections",
    "in recovery mode",
)
TEMPORARY_WORDS = (
    *CROWDED_WORDS,
    "connection refused",
    "no such file or directory",  # the Unix socket of a server that is restarting
    "server closed the connection unexpectedly",
    "connection reset by peer",
    "could not receive data from server",
    "could not send data to server",
    "connection already closed",
    "timeout expired",
    "terminating connection",
    "network is unreachable",
    "no route to host",
    "temporary failure in name resolution",
)
"""What libpq says when no connection came about or it broke: such errors carry no SQLSTATE."""


def is_temporary(error: DBAPIError | PoolTimeout) -> bool:
    """Whether the same statement may succeed a little later. Everything else is a bug or a setting."""
    if isinstance(error, PoolTimeout) or error.connection_invalidated:
        return True
    code = code_of(error)
    if code is not None:
        return code in TEMPORARY_CODES
    return isinstance(error, OperationalError) and any(word in str(error.orig).lower() for word in TEMPORARY_WORDS)


def is_read_only(error: DBAPIError | PoolTimeout) -> bool:
    """Whether the server takes no writes: after a fail-over it is the replica now, and another takes them."""
    return isinstance(error, DBAPIError) and code_of(error) == READ_ONLY


def leave_replicas(engine: Engine) -> None:
    """Count a server that takes no writes as a connection that broke: the next one may lead to the new primary."""

    @event.listens_for(engine, "handle_error")
    def found(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "pgcode", None) == READ_ONLY:
            context.is_disconnect = True


def is_there(error: DBAPIError | PoolTimeout) -> bool:
    """Whether there is a server: it has no room for us yet, or it took the connection and broke it at a statement. What
    is waited for at the very first contact, where silence rather means that the address is wrong."""
    if not isinstance(error, OperationalError):
        return False
    was_connected = error.statement is not None
    is_crowded = any(word in str(error.orig).lower() for word in CROWDED_WORDS)
    return is_crowded or (was_connected and is_temporary(error))


class Patience:
    """Repeats an attempt while the database's errors are temporary, for as long as `patience`.

    url: the database's, for sentences. passing: which errors are waited for.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        patience: timedelta = PATIENCE,
        passing: Callable[[DBAPIError | PoolTimeout], bool] = is_temporary,
    ) -> None:
        self._url, self._clock, self._patience, self._passing = url, clock, patience, passing
        self._log = logging.getLogger(__name__)

    def run(self, attempt: Callable[[bool], Result]) -> Result:
        """The result of `attempt(repeated)`.

        Raises:
            StoreUnavailable: the errors lasted longer than we are prepared to wait.
            EnvironmentFault: the database refuses us for good (password, name, disk).
        """
        deadline = self._clock.monotonic() + self._patience.total_seconds()
        pause, repeated = FIRST_PAUSE, False
        while True:
            try:
                return attempt(repeated)
            except (DBAPIError, PoolTimeout) as error:
                if not self._passing(error):
                    if isinstance(error, DBAPIError) and is_refusal(error):
                        # Password, name, rights, disk: nothing that we could mend.
                        raise unusable(self._url, error.orig or error) from error
                    raise
                reason = _reason(error)
                if self._clock.monotonic() + pause.total_seconds() > deadline:
                    raise StoreUnavailable(self._sentence(reason, is_read_only(error))) from error
                if not repeated:
                    self._log.warning("waiting for the database: %s", reason)
            self._clock.sleep(pause)
            pause, repeated = min(2 * pause, LONGEST_PAUSE), True

    def _sentence(self, reason: str, is_read_only: bool) -> str:
        fault = "took no writes" if is_read_only else "did not answer"
        remedy = f". {READ_ONLY_REMEDY}, and resume." if is_read_only else ": resume when it is back."
        return (
            f"The {place(self._url)} {fault} for {self._patience.total_seconds():.0f} seconds ({reason}). "
            f"Nothing is lost{remedy}"
        )


class PatientEngine:
    """Runs transactions on an engine, patiently."""

    def __init__(self, engine: Engine, clock: Clock, patience: timedelta = PATIENCE) -> None:
        self._engine, self._clock = engine, clock
        self._patience = Patience(engine.url.render_as_string(hide_password=False), clock, patience)

    def run(self, work: Callable[[Session, bool], Result]) -> Result:
        """The result of `work(session, repeated)` in one transaction.

        When the connection breaks while a commit is under way, nobody knows whether it took place. `repeated` is
        true from the second attempt on: work that would not be safe to do twice looks then whether it was done.

        Raises:
            StoreUnavailable: the errors lasted longer than we are prepared to wait.
            EnvironmentFault: the database refuses us for good (password, name, disk).
        """

        def attempt(repeated: bool) -> Result:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                return work(session, repeated)

        return self._patience.run(attempt)

    def alone(self, work: Callable[[Connection, bool], Result]) -> Result:
        """The result of `work(connection, repeated)`, in which each statement is a transaction of its own. Otherwise
        as `run`."""

        def attempt(repeated: bool) -> Result:
            with single_statements(self._engine) as connection:
                return work(connection, repeated)

        return self._patience.run(attempt)

    @contextmanager
    def exclusive(self, key: int) -> Iterator[None]:
        """Hold the advisory lock `key`, as `advisory_lock` does.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        with advisory_lock(self._engine, key, self._patience, self._clock):
            yield

    def dispose(self) -> None:
        """Close all connections."""
        self._engine.dispose()


@contextmanager
def advisory_lock(engine: Engine, key: int, patience: Patience, clock: Clock) -> Iterator[None]:
    """Hold the advisory lock `key`, which one transaction has at a time and which ends with it, however that ends.

    A transaction's and no session's, because a pooler may give the session to somebody else. Asked for again and again
    instead of waited for, so that a signal gets through and nobody who waits keeps a connection.
    """

    def attempt(_: bool) -> Connection | None:
        connection = engine.connect()
        try:
            if connection.scalar(select(func.pg_try_advisory_xact_lock(key))):
                return connection
        except BaseException:
            connection.invalidate()
            raise
        connection.close()
        return None

    while (connection := patience.run(attempt)) is None:
        clock.sleep(LOCK_PAUSE)
    try:
        yield
    finally:
        _end(connection)


def _end(connection: Connection) -> None:
    """Give a connection back, which ends its transaction; where the server is away, that has ended already."""
    try:
        connection.close()
    except DBAPIError as error:
        if not is_temporary(error):
            raise


@contextmanager
def single_statements(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement is a transaction of its own, without two more ways to the server and back.

    Said to the driver: SQLAlchemy's own way asks the server once more at the end, and where that is away the
    connection's place in the pool is lost.
    """
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None, "a connection that is open"
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not (connection.invalidated or driver.closed):
                driver.autocommit = False


def _reason(error: DBAPIError | PoolTimeout) -> str:
    text = redact_error(str(error.orig if isinstance(error, DBAPIError) else error)).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
