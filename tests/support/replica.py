"""A PostgreSQL and its synchronous standby, both on Unix sockets, of which the first can be killed and the other
promoted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

from hpo.adapters.postgres.embedded import DATABASE, USER, EmbeddedPostgres, _run
from hpo.adapters.postgres.home import PostgresHome

REPLICATION = {"wal_level": "replica", "max_wal_senders": "4", "max_connections": "200"}
START_SECONDS = 60.0


class Pair:
    """url: names both, and whoever connects takes the one that can be written to."""

    def __init__(self, home: Path) -> None:
        self.primary, self._standby = EmbeddedPostgres(home / "primary"), EmbeddedPostgres(home / "standby")
        self._first, self._second = self.primary._places(), self._standby._places()
        hosts = quote(f"{self._first.sockets},{self._second.sockets}", safe="/,")
        self.url = f"postgresql://{USER}@/{DATABASE}?host={hosts}&target_session_attrs=read-write"

    def replicate(self) -> None:
        """Start both; from here on a commit is answered when the standby has it on its disk."""
        self.primary.acquire()
        for setting, value in REPLICATION.items():
            execute(self._first, f"ALTER SYSTEM SET {setting} = {value}")
        self.primary.stop()
        self.primary.acquire()
        source = f"host={self._first.sockets} user={USER} application_name=standby"
        _run(self._second, "pg_basebackup", "-D", self._second.data.name, "-d", source, "-R", "-X", "stream")
        self._second.data.chmod(0o700)
        options = f"-c unix_socket_directories={self._second.sockets}"
        _run(self._second, "pg_ctl", "start", "-D", self._second.data.name, "-l", self._second.log.name, "-o", options)
        execute(self._first, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        execute(self._first, "SELECT pg_reload_conf()")
        deadline = time.monotonic() + START_SECONDS
        while ask(self._first, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != 1:
            assert time.monotonic() < deadline, self._second.log.read_text()
            time.sleep(0.05)

    def lose_the_primary(self) -> None:
        """As a machine that loses its power: no process of it says another word."""
        server = psutil.Process(postmaster(self._first))
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, 10)

    def promote(self) -> None:
        """The standby takes writes."""
        assert ask(self._second, "SELECT pg_promote()") is True

    def close(self) -> None:
        """End what is left."""
        for places in (self._first, self._second):
            if (places.data / "postmaster.pid").exists() and psutil.pid_exists(postmaster(places)):
                _run(places, "pg_ctl", "stop", "-D", places.data.name, "-m", "immediate")
        self.primary.release()


def postmaster(places: PostgresHome) -> int:
    return int((places.data / "postmaster.pid").read_text().splitlines()[0])


@contextmanager
def connected(places: PostgresHome) -> Iterator[psycopg2.extensions.cursor]:
    connection = psycopg2.connect(f"host={places.sockets} user={USER} dbname={DATABASE}")
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()


def execute(places: PostgresHome, statement: str) -> None:
    with connected(places) as cursor:
        cursor.execute(statement)


def ask(places: PostgresHome, statement: str) -> object:
    """The first value of the answer."""
    with connected(places) as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    assert row is not None
    return row[0]
