"""The embedded PostgreSQL: up while a process of ours uses it, on a Unix socket that only its owner can reach."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil

from hpo.adapters.postgres.home import PostgresHome, locate
from hpo.domain.errors import EnvironmentFault

USER = "hpo"
DATABASE = "hpo"
START_SECONDS = 120
"""Generous: after a power loss the server first replays its log."""

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    # One machine, no replicas, small queries: less to write, fewer processes, nothing in /dev/shm.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # The text of a failing statement may hold a user's values.
    "log_min_error_statement": "panic",
}


class EmbeddedPostgres:
    """The server whose data lie under `home/postgres`.

    Three flocks, which the system drops when their holders die, however they die, so that nothing has to be
    counted, trusted or cleaned up:

    - `users.lock`, shared, held by every using process: the last one to leave stops the server, unless the marker
      `keep` is there;
    - `server.lock`, held by the server's own processes, which inherit it: it is free exactly when no process works
      on the data, even one of a crashed server or of another container;
    - `transition.lock`, held while somebody starts, stops, joins or leaves.

    Use as a context manager, or pair `acquire` with `release`; not from several threads at once.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home.absolute() / "postgres"
        self._users: int | None = None
        _instances.add(self)

    def __enter__(self) -> EmbeddedPostgres:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def url(self) -> str:
        """The database's URL. It holds no password: the mode of the socket's folder is the guard."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self._places().sockets), safe='/')}"

    def acquire(self) -> str:
        """Use the server, creating and starting it if need be; its URL. Repeating is harmless.

        Raises:
            EnvironmentFault: it cannot be created or started; the text says why.
        """
        with self._transition():
            if self._users is None:
                self._users = self._open_lock("users.lock")
                fcntl.flock(self._users, fcntl.LOCK_SH)
            try:
                self._start(self._places())
            except BaseException:
                self._leave()
                raise
        return self.url

    def release(self) -> None:
        """Stop using the server; the last user stops it, unless it is to be kept. Repeating is harmless."""
        if self._users is None:
            return
        with self._transition():
            try:
                if _try_lock(self._users) and not self._keep_marker.exists():
                    self._stop(self._places())
            finally:
                self._leave()

    def keep(self) -> str:
        """Start the server and leave it up for other tools, until `stop`; its URL."""
        self.acquire()
        self._keep_marker.touch()
        self.release()
        return self.url

    def stop(self) -> bool:
        """End the server now, whoever uses it, and do not keep it up any more; False if it was not running."""
        if not self._folder.exists():
            return False
        with self._transition():
            self._keep_marker.unlink(missing_ok=True)
            try:
                return self._stop(self._places())
            finally:
                self._leave()

    def revive(self) -> bool:
        """Start the server again if it was killed, which its notes tell. One that was stopped in order stays down."""
        with self._transition():
            places, server = self._places(), self._lock_server()
            if server is None:
                return False
            os.close(server)
            if not _postmaster_lines(places.data):
                return False
            self._start(places)
            return True

    def is_running(self) -> bool:
        """Whether the server is up; never starts or creates anything."""
        if not self._folder.exists():
            return False
        with self._transition():
            server = self._lock_server()
            if server is not None:
                os.close(server)
            return server is None

    @property
    def _keep_marker(self) -> Path:
        return self._folder / "keep"

    def _places(self) -> PostgresHome:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFault(
                f"The folder {self._folder} for the embedded database cannot be made ({error.strerror}); "
                "choose another HPO_HOME."
            ) from error
        return locate(self._folder)

    def _open_lock(self, name: str) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def _transition(self) -> Iterator[None]:
        """Only one process at a time starts, stops, joins or leaves."""
        self._places()
        lock = self._open_lock("transition.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _lock_server(self) -> int | None:
        """The descriptor of the server's lock, taken; None if a server holds it."""
        server = self._open_lock("server.lock")
        if _try_lock(server):
            return server
        os.close(server)
        return None

    def _leave(self) -> None:
        """Close our descriptor of the users' lock."""
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def _start(self, places: PostgresHome) -> None:
        """Launch the server unless somebody has, and wait until it is ready.

        The lock of a server that has just ended may be held for a moment longer, and one that somebody launched before
        he was killed is waited for like our own: so the lock is asked for until there is a server that is ready.
        """
        if not (places.data / "PG_VERSION").exists():
            _create(places)
        deadline, is_launched = time.monotonic() + START_SECONDS, False
        while True:
            server = self._lock_server()
            if server is not None:
                try:
                    if is_launched:
                        break  # it has ended again
                    _launch(places, server)
                    is_launched = True
                finally:
                    os.close(server)  # our copy: the server's processes keep theirs
            elif _status(places.data) == "ready":
                return
            elif time.monotonic() > deadline:
                break
            else:
                time.sleep(0.02)
        raise EnvironmentFault(f"The embedded database did not start. {_last_lines(places.log)}")

    def _stop(self, places: PostgresHome) -> bool:
        server = self._lock_server()
        if server is not None:
            os.close(server)
            return False
        if not _is_visible(places.data):
            raise EnvironmentFault(
                f"The embedded database of {self._folder} runs on another machine or in another container; "
                "stop it there."
            )
        _run(places, "pg_ctl", "stop", "-D", places.data.name, "-m", "fast", "-t", START_SECONDS)
        return True


_instances: weakref.WeakSet[EmbeddedPostgres] = weakref.WeakSet()


def _leave_in_child() -> None:
    """A forked child's copy of the descriptor would keep the users' lock after its parent has gone."""
    for instance in _instances:
        instance._leave()


os.register_at_fork(after_in_child=_leave_in_child)


def _create(places: PostgresHome) -> None:
    """Make the cluster with its database in a new folder and move it into place, so that half of one never counts."""
    for leftover in places.server.glob("init-*"):
        shutil.rmtree(leftover)
    fresh = Path(tempfile.mkdtemp(prefix="init-", dir=places.server))
    if places.account is not None:
        os.chown(fresh, places.account.uid, places.account.gid)
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    identity = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-instructions"]
    _run(places, "initdb", "-D", fresh.name, *identity, *settings)
    _run(places, "postgres", "--single", "-D", fresh.name, "postgres", stdin=f"CREATE DATABASE {DATABASE}\n")
    if places.data.exists():
        raise EnvironmentFault(
            f"The folder {places.data} exists but holds no PostgreSQL data; move it away and call again."
        )
    fresh.rename(places.data)


def _launch(places: PostgresHome, server_lock: int) -> None:
    """Start the server, which inherits its lock. Nobody else works on the data: the caller holds that lock."""
    # What a power loss or a container's end left behind. Its process number may be another program's by now, which
    # PostgreSQL would take for a running server.
    for note in (places.data / "postmaster.pid", *places.sockets.glob(".s.PGSQL.*.lock")):
        note.unlink(missing_ok=True)
    options = f"-c unix_socket_directories={places.sockets}"
    start = ("start", "-D", places.data.name, "-l", places.log.name, "-o", options, "-t", START_SECONDS)
    _run(places, "pg_ctl", *start, inherited=(server_lock,))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _postmaster_lines(data: Path) -> list[str]:
    """The server's own notes: line 1 its process number, line 8 its status; empty while there are none."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _status(data: Path) -> str:
    """`starting`, `ready`, `stopping`, or empty."""
    lines = _postmaster_lines(data)
    return lines[7].strip() if len(lines) > 7 else ""


def _is_visible(data: Path) -> bool:
    """Whether the server's process number means the server here too, and not something of another machine's."""
    lines = _postmaster_lines(data)
    try:
        return bool(lines) and psutil.Process(int(lines[0])).name() == "postgres"
    except psutil.NoSuchProcess:
        return False


def _run(
    places: PostgresHome, program: str, *arguments: object, stdin: str = "", inherited: Collection[int] = ()
) -> None:
    """Run one of PostgreSQL's programs as the server's user, in the server's folder.

    Files are named relative to it: `pg_ctl` hands its command to a shell, which would interpret what a path may hold.
    """
    account = places.account
    command: Sequence[str] = [str(places.binaries / program), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with tempfile.TemporaryFile("w+") as output:
        # A file, not a pipe: the server inherits it and would hold a pipe open.
        result = subprocess.run(
            command,
            input=stdin,
            text=True,
            stdout=output,
            stderr=output,
            cwd=places.server,
            env={**environment, "LC_ALL": "C"},
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            pass_fds=inherited,
            check=False,
        )
        if result.returncode != 0:
            output.seek(0)
            raise EnvironmentFault(
                f"{program} of the embedded database failed (exit code {result.returncode}): "
                f"{output.read().strip()}\n{_last_lines(places.log)}".rstrip()
            )


def _last_lines(log: Path, count: int = 10) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""
