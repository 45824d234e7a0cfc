"""The database is restarted, killed, full of others' connections, locked, slow, or breaks off before it answers."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg2
import pytest
from sqlalchemy import Connection, Engine, event, text
from support.arena import Arena, until
from support.plans import Fault
from support.proxy import Proxy
from support.tree import Tree, workers

from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.postgres.database import engine_for, prepare
from hpo.adapters.postgres.embedded import EmbeddedPostgres
from hpo.adapters.postgres.retry import PatientEngine
from hpo.adapters.processes.clock import SystemClock

NUM_TRIALS = 6
MAX_CONNECTIONS = 20
OURS = "pid <> pg_backend_pid() AND application_name LIKE 'tiertune-%'"
LOCK = "LOCK TABLE hpo.slot, optuna.trials, optuna.trial_intermediate_values IN ACCESS EXCLUSIVE MODE"


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that may be restarted without harm to other tests."""
    home = Path(tempfile.mkdtemp(prefix="tiertune-tests-"))
    home.chmod(0o755)
    server = EmbeddedPostgres(home)
    try:
        server.acquire()
        prepare(server.url)
        execute(server, f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
        restart(server, 0.0)
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)


@pytest.fixture
def local(arena: Arena, own_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Arena]:
    """The arena on that server."""
    made = Arena(own_server.url, tmp_path, arena.table)
    yield made
    made.close()


def connect(server: EmbeddedPostgres) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(server.url)
    connection.autocommit = True
    return connection


def execute(server: EmbeddedPostgres, statement: str) -> None:
    connection = connect(server)
    connection.cursor().execute(statement)
    connection.close()


def restart(server: EmbeddedPostgres, seconds: float) -> None:
    server.stop()
    time.sleep(seconds)
    server.acquire()


def crash(server: EmbeddedPostgres, seconds: float) -> None:
    """One of the server's own processes is killed: it ends every session, replays its log and starts anew."""
    postmaster = psutil.Process(int((server._places().data / "postmaster.pid").read_text().splitlines()[0]))
    next(child for child in postmaster.children() if "checkpointer" in " ".join(child.cmdline())).kill()
    time.sleep(seconds)


def crowd(server: EmbeddedPostgres, seconds: float) -> None:
    """Others take every connection there is, ours are broken off, and nobody lets go for a while."""
    others = [connect(server)]
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            others[0].cursor().execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
            try:
                while True:
                    others.append(connect(server))
            except psycopg2.OperationalError:
                time.sleep(0.05)
        assert len(others) > MAX_CONNECTIONS - 2, "ours kept theirs"
    finally:
        for other in others:
            other.close()


def lock(server: EmbeddedPostgres, seconds: float) -> None:
    """Somebody else's transaction holds our tables."""
    connection = psycopg2.connect(server.url)
    connection.cursor().execute(LOCK)
    time.sleep(seconds)
    connection.rollback()
    connection.close()


@pytest.mark.slow_faults
@pytest.mark.parametrize(
    ("blow", "seconds", "times"),
    [
        pytest.param(restart, 2.0, 3, id="restart-2s"),
        pytest.param(restart, 30.0, 1, id="restart-30s"),
        pytest.param(crash, 0.5, 3, id="crash"),
        pytest.param(crowd, 5.0, 3, id="crowd"),
        pytest.param(lock, 5.0, 3, id="lock"),
    ],
)
def test_workers_wait_for_a_database_that_is_away(
    arena: Arena,
    local: Arena,
    own_server: EmbeddedPostgres,
    blow: Callable[[EmbeddedPostgres, float], None],
    seconds: float,
    times: int,
) -> None:
    name = f"{blow.__name__}-{seconds:.0f}"
    plan = local.plan(name, NUM_TRIALS, pace=0.2)
    worker = local.start(plan)
    for number in range(times):
        until(lambda number=number: num_begun(plan.log) > 4 + 6 * number)
        blow(own_server, seconds)
        local.note_strike(name, blow.__name__)
    worker.join(120)

    assert worker.exitcode == 0, local.complaints(name)
    assert_nothing_was_trained_twice(plan.log)
    local.score(name, Fault(f"{seconds:.0f} s, amid trials", blow.__name__), "database")
    assert local.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.slow_faults
def test_a_search_goes_on_across_restarts(local: Arena, own_server: EmbeddedPostgres) -> None:
    """The real thing: amid its trials, and in the moment in which a worker that was killed is replaced."""
    tree, name, settings = Tree(local), "through-restarts", ("trials=8", "trainer.train.epochs=6")
    process = tree.start(name, *settings)
    supervisor = psutil.Process(process.pid)
    for seconds in (2.0, 30.0):
        tree.wait_for_epoch(name)
        restart(own_server, seconds)
        local.note_strike(name, "restart")
    tree.wait_for_epoch(name)
    assert {slot.fence for slot in local.slots(name)} <= {0, 1}, "a living worker was taken for dead"
    assert_nothing_was_trained_twice(tree.arena.home / f"{name}.log")
    (first,) = workers(supervisor)
    first.kill()
    local.note_strike(name, "KILL")
    until(lambda: any(worker.pid != first.pid for worker in workers(supervisor)))
    log = local.home / "logs" / name / "worker-1.log"
    said = log.stat().st_size
    own_server.stop()
    until(lambda: log.stat().st_size > said)  # it has come to the database, and found none
    own_server.acquire()
    local.note_strike(name, "restart")
    tree.finish(process, name)

    amid = (Fault("real training, amid trials", "restart"), "database")
    killed = (Fault("real training", "KILL"), "worker")
    local.score_all(name, [killed, amid, amid, (Fault("real training, a worker starts", "restart"), "database")])
    assert local.history(name) == tree.undisturbed(*settings)


@pytest.mark.slow_faults
def test_a_slow_database_only_takes_longer(arena: Arena, local: Arena, own_server: EmbeddedPostgres) -> None:
    """Everything takes 20 ms longer, and twice nothing gets through for longer than the lease."""
    name = "slow"
    proxy = Proxy(own_server.url, pause=0.02)
    plan = replace(local.plan(name, NUM_TRIALS, lease=1.0), url=proxy.url)
    worker = local.start(plan)
    for number in range(2):
        until(lambda number=number: num_begun(plan.log) > 6 + 12 * number)
        proxy.block(3.0)
        local.note_strike(name, "block")
    worker.join(240)
    proxy.close()

    assert worker.exitcode == 0, local.complaints(name)
    assert_nothing_was_trained_twice(plan.log)
    local.score(name, Fault("20 ms, then 3 s", "slow"), "database")
    assert local.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.slow_faults
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_write_whose_answer_is_lost_counts_once(
    arena: Arena, local: Arena, own_server: EmbeddedPostgres, seed: int
) -> None:
    name = f"cut-{seed}"
    proxy = Proxy(own_server.url, seed=seed)
    plan = replace(local.plan(name, NUM_TRIALS), url=proxy.url)
    worker = local.start(plan)
    until(lambda: num_begun(plan.log) > 0)
    proxy.cut_share = 0.1
    worker.join(240)
    proxy.close()

    assert worker.exitcode == 0, local.complaints(name)
    for _ in range(proxy.num_cuts):
        local.note_strike(name, "cut")
    assert_nothing_was_trained_twice(plan.log)
    local.score(name, Fault("between write and answer", "cut"), "database")
    assert local.history(name) == arena.calm(NUM_TRIALS)


@pytest.mark.slow_faults
def test_a_connection_may_break_at_any_statement_of_the_opening(database_url: str) -> None:
    """Of the tables' upkeep and of Optuna's storage: each statement in turn finds its connection gone."""
    num_broken = 0
    for nth in itertools.count(1):
        with broken_at(nth, database_url) as left:
            prepare(database_url)
            storage = study_storage(database_url)
            storage.get_all_studies()
            storage.remove_session()
            storage.engine.dispose()
        if next(left) > 0:
            break
        num_broken += 1
    assert num_broken > 5, "hardly anything was asked"


@contextmanager
def broken_at(nth: int, url: str) -> Iterator[Iterator[int]]:
    """The server ends the connection of the nth statement just before it is sent. Counts on from nth to zero."""
    left = itertools.count(nth, -1)

    def strike(connection: Connection, cursor: psycopg2.extensions.cursor, *_: object) -> None:
        if next(left) == 1:
            with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as other:
                own = cursor.connection.info.backend_pid
                other.cursor().execute(f"SELECT pg_terminate_backend({own}, 10000)")

    event.listen(Engine, "before_cursor_execute", strike)
    try:
        yield left
    finally:
        event.remove(Engine, "before_cursor_execute", strike)


def test_a_connection_that_breaks_when_it_is_given_back_keeps_its_place_in_the_pool(arena: Arena) -> None:
    """What was asked has been answered; the server is gone before the pool has the connection again."""
    engine = engine_for(arena.url, "tiertune-ledger")
    patient = PatientEngine(engine, SystemClock())

    def ask(connection: Connection, _: bool) -> int:
        return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)

    def ask_and_break(connection: Connection, repeated: bool) -> int:
        own = ask(connection, repeated)
        with engine_for(arena.url).connect() as other:
            other.execute(text(f"SELECT pg_terminate_backend({own}, 10000)"))
        return own

    first = patient.alone(ask)
    assert patient.alone(ask_and_break) == first
    assert patient.alone(ask) != first, "it is another connection, in the only place there is"
    engine.dispose()


def num_begun(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def assert_nothing_was_trained_twice(log: Path) -> None:
    begun = log.read_text().splitlines()
    assert len(begun) == len(set(begun)), "an epoch was trained twice"
