"""A real PgBouncer in front of a database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo.adapters.postgres.urls import parse

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_SECONDS = 30.0


@contextmanager
def pgbouncer(
    database_url: str, mode: str = "transaction", *, ignores_options: bool = True, sessions: int = 3
) -> Iterator[str]:
    """The database's URL through a pooler of a few sessions, which it gives out in turn.

    ignores_options: what a client says about the session when it connects is passed over; otherwise it is refused.
    """
    assert PROGRAM is not None
    behind = parse(database_url)
    host = behind.host or str(behind.query["host"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="tiertune-pooler-"))
    login = f"user={behind.username}" + (f" password={behind.password}" if behind.password else "")
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{behind.database} = host={host} port={behind.port or 5432} {login}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\ndefault_pool_size = {sessions}\nmax_client_conn = 2000\nserver_round_robin = 1\n"
        f"logfile = {folder / 'log'}\n" + ("ignore_startup_parameters = options\n" if ignores_options else "")
    )
    owner = os.stat(host).st_uid if host.startswith("/") else 65534
    as_root = os.geteuid() == 0  # as whom PgBouncer refuses to run
    if as_root:
        os.chown(folder, owner, -1)
    process = subprocess.Popen(
        [PROGRAM, "-q", str(folder / "pgbouncer.ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=owner if as_root else None,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the pooler does not listen"
            time.sleep(0.05)
        yield f"postgresql://me:any@127.0.0.1:{port}/{behind.database}"
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0
