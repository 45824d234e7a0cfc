"""Behind PgBouncer: a whole campaign works in transaction mode, and what cannot work is refused before it is tried."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from support.command import TINY_SPACE, hpo
from support.pooler import PROGRAM, pgbouncer

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.postgres import pooling
from hpo.adapters.postgres.database import open_database, prepare_mlflow
from hpo.adapters.postgres.urls import canonical, through_pooler, url_for
from hpo.domain.errors import EnvironmentFault

DATA = "trainer.data.source='planted:clean?stocks=12&days=300'"


def tables(url: str) -> dict[str, set[str]]:
    engine = create_engine(canonical(url), poolclass=NullPool)
    found: dict[str, set[str]] = {}
    with engine.connect() as connection:
        query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information)'"
        for schema, table in connection.execute(text(query)):
            found.setdefault(schema, set()).add(table)
    return found


def advisory_locks(url: str) -> object:
    engine = create_engine(canonical(url), poolclass=NullPool)
    with engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))


class TestAnyServer:
    """What needs no pooler: a marked URL works without one too."""

    def test_every_transaction_finds_its_schema(self, empty_database_url: str) -> None:
        engine = create_engine(url_for(through_pooler(empty_database_url), "mlflow"), pool_size=1, max_overflow=0)
        with engine.begin() as connection:
            assert connection.scalar(text("SHOW search_path")) == "mlflow"
            assert connection.scalar(text("SHOW timezone")) == "UTC"
        raw = engine.raw_connection()
        cursor = raw.cursor()
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() != ("mlflow",), "nothing stays with the session"
        raw.close()
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            assert connection.scalar(text("SHOW search_path")) == "mlflow"
        with engine.connect().execution_options(stream_results=True) as connection:
            assert connection.scalar(text("SELECT current_setting('search_path')")) == "mlflow"
        engine.dispose()

    def test_a_server_that_keeps_settings_is_used_as_it_is(self, empty_database_url: str) -> None:
        assert pooling.settled(empty_database_url) == empty_database_url

    def test_sessions_that_lose_their_settings_are_noticed(
        self, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forgetful(url: str, schema: str = "public", application: str | None = None) -> str:
            return url_for(url, schema if "plugin" in url else "other", application)

        monkeypatch.setattr(pooling, "url_for", forgetful)
        assert pooling.settled(empty_database_url) == through_pooler(empty_database_url)
        monkeypatch.setattr(pooling, "url_for", lambda url, *_: url_for(url, "other"))
        with pytest.raises(EnvironmentFault, match=r"behind a connection pooler .* session or transaction mode"):
            pooling.settled(empty_database_url)
        assert tables(empty_database_url) == {}

    def test_locks_are_a_transactions(self, database_url: str) -> None:
        ledger = PostgresLedger(database_url)
        with ledger.exclusive("study"):
            assert advisory_locks(database_url) == 1
        assert advisory_locks(database_url) == 0
        ledger.close()


@pytest.mark.pooler
@pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer on this machine")
class TestPgBouncer:
    @pytest.mark.parametrize("ignores_options", [True, False], ids=["options ignored", "options refused"])
    def test_tables_land_in_their_schemas(self, empty_database_url: str, tmp_path: Path, ignores_options: bool) -> None:
        with pgbouncer(empty_database_url, ignores_options=ignores_options) as url:
            for _ in range(2):
                with open_database(tmp_path, url) as database:
                    prepare_mlflow(database.url)
            assert advisory_locks(empty_database_url) == 0
        found = tables(empty_database_url)
        assert set(found) == {"hpo", "optuna", "mlflow"}
        assert {"studies", "alembic_version"} <= found["optuna"]
        assert {"runs", "alembic_version"} <= found["mlflow"]
        assert {"slot", "alembic_version"} <= found["hpo"]

    def test_more_processes_than_sessions_may_set_up_at_once(self, empty_database_url: str, tmp_path: Path) -> None:
        faults: list[BaseException] = []

        def open_it() -> None:
            try:
                open_database(tmp_path, url).close()
            except BaseException as fault:
                faults.append(fault)

        with pgbouncer(empty_database_url) as url:
            threads = [threading.Thread(target=open_it, daemon=True) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
        assert not any(thread.is_alive() for thread in threads)
        assert faults == []

    def test_a_campaign_with_two_workers(self, empty_database_url: str, tmp_path: Path) -> None:
        space = tmp_path / "space.yaml"
        space.write_text(TINY_SPACE)
        with pgbouncer(empty_database_url) as url:
            home = tmp_path / "home"
            run = ["run", "trials=6", "worker.num_workers=2", "trainer.train.epochs=2", DATA, "--space", str(space)]
            ended = hpo(home, *run, HPO_DATABASE_URL=url)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            for command in ("doctor", "sync", "report", "status"):
                again = hpo(home, command, HPO_DATABASE_URL=url)
                assert (again.returncode, again.stderr) == (0, ""), again.stdout + again.stderr
            assert advisory_locks(empty_database_url) == 0
        assert set(tables(empty_database_url)) == {"hpo", "optuna", "mlflow"}

    def test_statement_mode_is_refused_before_anything_is_written(
        self, empty_database_url: str, tmp_path: Path
    ) -> None:
        with pgbouncer(empty_database_url, "statement") as url:
            ended = hpo(tmp_path, "status", HPO_DATABASE_URL=url)
        assert ended.returncode == 3
        assert "cannot be used: " in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert tables(empty_database_url) == {}
