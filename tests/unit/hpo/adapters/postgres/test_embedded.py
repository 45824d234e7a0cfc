"""The embedded server: where it may live, who keeps it up, and what it recovers from."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import psutil
import pytest
from sqlalchemy import NullPool, create_engine, text

from hpo.adapters.postgres import home as postgres_home
from hpo.adapters.postgres.embedded import EmbeddedPostgres
from hpo.adapters.postgres.home import locate
from hpo.adapters.postgres.urls import canonical, parse
from hpo.domain.errors import EnvironmentFault


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a space and a comma in its name that the server's own user can enter (root runs tests too)."""
    base = Path(tempfile.mkdtemp(prefix="tiertune-tests-"))
    base.chmod(0o755)
    yield base
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def home(folder: Path) -> Path:
    """A state folder whose server was made once: making one costs a second."""
    home = folder / "with space, and comma"
    with EmbeddedPostgres(home) as server:
        assert server.is_running()
    return home


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(home)
    yield server
    server.stop()


def ask(server: EmbeddedPostgres, question: str) -> object:
    engine = create_engine(canonical(server.url), poolclass=NullPool)
    with engine.connect() as connection:
        return connection.execute(text(question)).scalar_one()


def postmaster(home: Path) -> psutil.Process:
    return psutil.Process(int((locate(home / "postgres").data / "postmaster.pid").read_text().split()[0]))


def in_a_process(home: Path, code: str) -> subprocess.Popen[str]:
    """Another process with `server` for the same home; it says `ready` and then waits for its input to end."""
    script = (
        f"import sys; from pathlib import Path; from hpo.adapters.postgres.embedded import EmbeddedPostgres\n"
        f"server = EmbeddedPostgres(Path({str(home)!r}))\n{code}\nprint('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _wait_in_child(started: Event, finished: Event) -> None:
    started.set()
    finished.wait(30)


class TestServer:
    def test_answers_on_a_socket_only_its_owner_can_reach(self, server: EmbeddedPostgres) -> None:
        with server:
            assert ask(server, "SELECT count(*) FROM pg_stat_activity WHERE client_port > 0") == 0
            assert ask(server, "SHOW listen_addresses") == ""
            assert ask(server, "SHOW timezone") == "UTC"
            assert ask(server, "SHOW fsync") == "on"
            sockets = Path(str(parse(server.url).query["host"]))
            assert stat.S_IMODE(sockets.stat().st_mode) == 0o700

    def test_runs_in_a_session_of_its_own(self, server: EmbeddedPostgres, home: Path) -> None:
        """Ctrl-C at the terminal goes to our process group; the server must outlive it."""
        with server:
            assert os.getsid(postmaster(home).pid) != os.getsid(0)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server to another user")
    def test_root_lends_it_to_an_ordinary_user(self, server: EmbeddedPostgres, home: Path) -> None:
        with server:
            assert postmaster(home).uids().real != 0


class TestLifecycle:
    def test_the_last_user_stops_it(self, server: EmbeddedPostgres, home: Path) -> None:
        other = EmbeddedPostgres(home)
        server.acquire()
        other.acquire()
        server.release()
        assert ask(other, "SELECT 1") == 1
        other.release()
        assert not other.is_running()

    def test_acquire_and_release_may_be_repeated(self, server: EmbeddedPostgres) -> None:
        assert server.acquire() == server.acquire()
        server.release()
        server.release()
        assert not server.is_running()

    def test_a_killed_user_does_not_count(self, server: EmbeddedPostgres, home: Path) -> None:
        process = in_a_process(home, "server.acquire()")
        server.acquire()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert ask(server, "SELECT 1") == 1
        server.release()
        assert not server.is_running()

    def test_a_forked_child_does_not_keep_it_up(self, server: EmbeddedPostgres) -> None:
        started, finished = multiprocessing.Event(), multiprocessing.Event()
        child = multiprocessing.get_context("fork").Process(
            target=_wait_in_child, args=(started, finished), daemon=True
        )
        server.acquire()
        child.start()
        assert started.wait(30)
        server.release()
        running = server.is_running()
        finished.set()
        child.join(30)
        assert not running

    def test_keep_leaves_it_up_until_stop(self, server: EmbeddedPostgres, home: Path) -> None:
        server.keep()
        with EmbeddedPostgres(home):
            pass
        assert ask(server, "SELECT 1") == 1
        assert server.stop()
        assert not server.is_running()
        assert not server.stop()
        with server:
            pass
        assert not server.is_running(), "stop must forget keep"

    def test_two_that_start_at_once_share_one_server(self, home: Path) -> None:
        servers = [EmbeddedPostgres(home) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            urls = list(pool.map(lambda one: one.acquire(), servers))
        assert len(set(urls)) == 1
        assert ask(servers[0], "SELECT 1") == 1
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: one.release(), servers))
        assert not servers[0].is_running()

    def test_asking_creates_nothing(self, tmp_path: Path) -> None:
        server = EmbeddedPostgres(tmp_path / "new")
        assert not server.is_running()
        assert not server.stop()
        assert not (tmp_path / "new").exists()


class TestRecovery:
    def test_from_a_killed_server(self, server: EmbeddedPostgres, home: Path) -> None:
        server.acquire()
        engine = create_engine(canonical(server.url), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS kept (x int)"))
        leader = postmaster(home)
        family = [leader, *leader.children(recursive=True)]
        leader.kill()
        psutil.wait_procs(family, timeout=30)
        server.release()
        with server:
            assert ask(server, "SELECT count(*) FROM kept") == 0

    def test_from_a_server_that_has_just_ended_and_still_holds_its_lock(
        self, server: EmbeddedPostgres, home: Path
    ) -> None:
        lock = os.open(home / "postgres" / "server.lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        ending = threading.Timer(0.3, os.close, [lock])
        ending.start()
        server.acquire()
        ending.join()
        assert ask(server, "SELECT 1") == 1

    def test_from_a_process_number_that_is_another_programs_now(self, server: EmbeddedPostgres, home: Path) -> None:
        with server:
            data = locate(home / "postgres").data
            lines = (data / "postmaster.pid").read_text().splitlines()
        lines[0] = str(os.getpid())
        (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
        assert not server.is_running()
        with server:
            assert ask(server, "SELECT 1") == 1
            assert postmaster(home).pid != os.getpid()

    def test_from_a_creation_that_was_killed_half_way(self, folder: Path) -> None:
        home = folder / "half"
        (home / "postgres").mkdir(parents=True)
        places = locate(home / "postgres")
        for leftover in ("init-abc/base", "init-abc/global"):
            (places.server / leftover).mkdir(parents=True)
        with EmbeddedPostgres(home) as server:
            assert ask(server, "SELECT 1") == 1
        assert list(places.server.glob("init-*")) == []

    def test_a_server_that_cannot_start_says_why(self, server: EmbeddedPostgres, home: Path) -> None:
        settings = locate(home / "postgres").data / "postgresql.auto.conf"
        before = settings.read_text()
        settings.write_text("shared_buffers = nonsense\n")
        with pytest.raises(EnvironmentFault, match=r"(?s)pg_ctl .* failed .*shared_buffers"):
            server.acquire()
        settings.write_text(before)
        with server:
            assert ask(server, "SELECT 1") == 1


class TestPlaces:
    def test_a_long_path_gets_a_short_socket_folder(self, folder: Path) -> None:
        long = folder / ("x" * 60) / ("y" * 60) / "postgres"
        long.mkdir(parents=True)
        places = locate(long)
        assert len(os.fsencode(places.sockets / ".s.PGSQL.5432.lock")) <= 103
        assert places.server == long / "server"
        assert locate(long).sockets == places.sockets
        assert stat.S_IMODE(places.sockets.stat().st_mode) == 0o700
        places.sockets.rmdir()

    def test_a_socket_folder_that_is_somebody_elses_is_refused(self, folder: Path) -> None:
        long = folder / ("z" * 120) / "postgres"
        long.mkdir(parents=True)
        sockets = locate(long).sockets
        sockets.rmdir()
        sockets.symlink_to(folder)
        with pytest.raises(EnvironmentFault, match="is not ours to use"):
            locate(long)
        sockets.unlink()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
    def test_root_works_where_others_may_not_go(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """State folder and programs out of the account's reach: no parent is opened up, data and a copy go outside."""
        reachable = postgres_home._reachable
        monkeypatch.setattr(postgres_home, "OUTSIDE", folder / "outside")
        monkeypatch.setattr(
            postgres_home, "_reachable", lambda path, account: path.name != "bin" and reachable(path, account)
        )
        private = Path(tempfile.mkdtemp())
        home = private / "hpo"
        try:
            with EmbeddedPostgres(home) as server:
                assert ask(server, "SELECT 1") == 1
                assert postmaster(home).exe().startswith(str(folder / "outside"))
            places = locate(home / "postgres")
            assert places.server.parent == folder / "outside"
            assert locate(home / "postgres") == places
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
            shutil.rmtree(home)
            (home / "postgres").mkdir(parents=True)
            assert locate(home / "postgres").server != places.server, "deleting the state folder must start afresh"
        finally:
            shutil.rmtree(private)

    def test_a_file_in_the_way_is_an_environment_fault(self, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("")
        with pytest.raises(EnvironmentFault, match="choose another HPO_HOME"):
            EmbeddedPostgres(tmp_path / "home").acquire()


def test_a_server_that_was_killed_is_started_again_and_one_that_was_stopped_is_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    server = EmbeddedPostgres(tmp_path)
    server.acquire()
    assert not server.revive(), "it is up"
    os.kill(int((server._places().data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while not server.revive():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.is_running()
    server.stop()
    assert not server.revive()
    assert not server.is_running()
