"""Shared fixtures: one PostgreSQL per test session, one fresh database per test, a clean environment."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from support import ray_cluster as ray_nodes
from support import s3 as s3_server
from support import slurm

from hpo.adapters.postgres.database import prepare
from hpo.adapters.postgres.embedded import EmbeddedPostgres
from hpo.adapters.postgres.urls import canonical, parse

SERVER_VARIABLE = "HPO_TEST_DATABASE_URL"
FOREIGN = ("HPO_", "MLFLOW_", "PG", "AWS_", "GOOGLE_")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--storm-minutes", type=float, default=60.0, help="how long tests/faults/test_storm.py goes on")
    parser.addoption("--storm-seed", type=int, default=100, help="the first seed of the storm")
    parser.addoption("--simulation-seed", type=int, default=1, help="the first seed of the simulation")
    parser.addoption("--simulation-seeds", type=int, default=100, help="how many seeds the simulation plays")
    parser.addoption("--simulation-steps", type=int, default=1_000_000, help="how many steps it plays of each")


def pytest_configure() -> None:
    """What the developer has set for their own searches must not reach a test."""
    for name in [name for name in os.environ if name.startswith(FOREIGN) and name != SERVER_VARIABLE]:
        del os.environ[name]
    # Several test processes share the cores; torch's waiting threads would spin on them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _our_loggers_speak() -> None:
    """Optuna's migrations, where a test opens its storage plainly, switch off every logger there is."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(("hpo", "trainer")) and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a database on a server that lets us create more: embedded, or HPO_TEST_DATABASE_URL."""
    if SERVER_VARIABLE in os.environ:
        yield os.environ[SERVER_VARIABLE]
        return
    home = Path(tempfile.mkdtemp(prefix="tiertune-tests-"))
    home.chmod(0o755)  # when root runs the tests, the server's own user has to get in
    try:
        with EmbeddedPostgres(home) as server:
            # Nobody needs these data after a power loss, and making databases is mostly waiting for the disk.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                _execute(server.url, f"ALTER SYSTEM SET {setting} = off")
            _execute(server.url, "SELECT pg_reload_conf()")
            yield server.url
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> Iterator[str]:
    """Name of a prepared database (Optuna's and the ledger's tables) to copy from."""
    with _database(postgres_server, "TEMPLATE template0") as url:
        prepare(url)
        yield str(parse(url).database)


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh database without any schema of ours."""
    with _database(postgres_server, "TEMPLATE template0") as url:
        yield url


@pytest.fixture
def database_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """URL of a fresh, prepared database."""
    with _database(postgres_server, f"TEMPLATE {template_database}") as url:
        yield url


@pytest.fixture(scope="session")
def session_database_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """URL of a prepared database for tests that keep out of each other's way by campaign names."""
    with _database(postgres_server, f"TEMPLATE {template_database}") as url:
        yield url


@pytest.fixture(scope="session")
def _ledger_database(postgres_server: str, template_database: str) -> Iterator[str]:
    with _database(postgres_server, f"TEMPLATE {template_database}") as url:
        yield url


@pytest.fixture
def ledger_database_url(_ledger_database: str) -> str:
    """URL of a prepared database whose ledger is empty: quicker than a fresh one, for tests of the ledger alone."""
    _execute(_ledger_database, "DELETE FROM hpo.campaign")
    return _ledger_database


@pytest.fixture(scope="session")
def slurm_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One Slurm of one node for the whole session; see `cluster`."""
    absent = slurm.missing()
    if absent:
        pytest.skip(f"Slurm is not installed here (Debian: slurm-wlm): {absent}")
    with ExitStack() as opened:
        try:
            settings = opened.enter_context(slurm.open_cluster(tmp_path_factory.mktemp("slurm")))
        except TimeoutError as error:
            pytest.skip(f"Slurm is installed and does not start here: {error}")
        yield settings


@pytest.fixture
def cluster(slurm_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's commands reach a cluster of one node."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_settings))


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """One Ray cluster of one node for the whole session; see `ray_cluster`."""
    with ray_nodes.open_cluster({"num_cpus": 4, "num_gpus": 1}) as cluster:
        yield cluster.address


@pytest.fixture
def ray_cluster(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's commands reach a cluster of one node."""
    monkeypatch.setenv("RAY_ADDRESS", ray_address)


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[s3_server.S3]:
    absent = s3_server.missing()
    if absent:
        pytest.skip(f"there is no S3 server to test with: {absent}")
    with s3_server.open_server() as server:
        yield server


@pytest.fixture
def s3(_s3_server: s3_server.S3, monkeypatch: pytest.MonkeyPatch) -> s3_server.S3:
    """One S3 server for the whole session, which this process and those that it starts reach."""
    for name, value in _s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return _s3_server


@contextmanager
def _database(server: str, options: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    _execute(server, f"CREATE DATABASE {name} {options}")
    try:
        yield parse(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    engine = create_engine(canonical(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
