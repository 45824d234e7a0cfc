"""Setting a database up: once, for all three libraries, by any number of processes, on servers of every kind."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from optuna.study import StudyDirection
from sqlalchemy import Connection, NullPool, create_engine, inspect, make_url, text

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.postgres import database
from hpo.adapters.postgres.database import Database, engine_for, open_database, prepare, prepare_mlflow
from hpo.adapters.postgres.urls import canonical, parse, url_for
from hpo.domain.campaign import CampaignSpec, TierPlan, WorkerIdentity
from hpo.domain.errors import EnvironmentFault, StoreUnavailable, UsageError

SPEC = CampaignSpec("night", {}, {}, (TierPlan(1, "capacity", 2),), seed=1)


def tables(url: str) -> dict[str, set[str]]:
    engine = create_engine(canonical(url))
    found = {schema: set(inspect(engine).get_table_names(schema)) for schema in ("optuna", "mlflow", "hpo", "public")}
    engine.dispose()
    return found


def test_several_processes_may_set_up_at_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(prepare, empty_database_url) for _ in range(4)]:
            future.result(timeout=60)
    found = tables(empty_database_url)
    assert {"studies", "trials", "alembic_version"} <= found["optuna"]
    assert found["hpo"] == {"campaign", "tier", "slot", "worker", "checkpoint", "alembic_version"}
    assert found["mlflow"] == found["public"] == set()


def test_mlflow_keeps_to_its_schema(database_url: str) -> None:
    prepare_mlflow(database_url)
    prepare_mlflow(database_url)
    found = tables(database_url)
    assert {"experiments", "runs", "metrics", "alembic_version"} <= found["mlflow"]
    assert "experiments" not in found["optuna"] | found["hpo"] | found["public"]


def test_optuna_works_on_the_tables_made_for_it(database_url: str) -> None:
    import optuna

    storage = study_storage(database_url)
    study = optuna.create_study(storage=storage, study_name="alpha/1-capacity")
    study.tell(study.ask(), 1.0)
    assert len(study.trials) == 1
    storage.engine.dispose()


def test_sessions_are_on_utc_whatever_the_database_says(database_url: str) -> None:
    name = parse(database_url).database
    engine = engine_for(database_url)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"))
    engine.dispose()
    for url in (url_for(database_url, "optuna"), url_for(database_url)):
        fresh = create_engine(url)
        with fresh.connect() as connection:
            assert connection.scalar(text("SHOW timezone")) == "UTC"
        fresh.dispose()


def test_a_worker_opens_few_connections(database_url: str) -> None:
    from hpo.adapters.ledger.postgres_ledger import PostgresLedger

    ledger, storage = PostgresLedger(database_url), study_storage(database_url)
    pools = [ledger._engine.pool, storage.engine.pool]
    limits = [pool.size() + pool._max_overflow for pool in pools]  # type: ignore[attr-defined]  # QueuePool's own
    assert sum(limits) <= 4
    storage.engine.dispose()
    ledger.close()


def test_any_password_works_for_all_three(database_url: str) -> None:
    """A password with the characters URLs, configuration files and shells stumble over; the server checks none."""
    url = parse(database_url).set(password="p@ss/w%rd:#?&'\"$ %%(x)s").render_as_string(hide_password=False)
    prepare(url)
    prepare_mlflow(url)
    study_storage(url).engine.dispose()
    assert make_url(canonical(url)).password == "p@ss/w%rd:#?&'\"$ %%(x)s"


class TestRefusals:
    def test_a_server_that_does_not_answer(self, tmp_path: Path) -> None:
        started = time.monotonic()
        with pytest.raises(EnvironmentFault, match=r"'d' on 127\.0\.0\.1, port 9 cannot be used: .*refused") as caught:
            open_database(tmp_path, "postgresql://u:s3cret@127.0.0.1:9/d")
        assert "s3cret" not in str(caught.value)
        assert time.monotonic() - started < 10

    def test_a_database_that_is_not_there(self, database_url: str) -> None:
        missing = parse(database_url).set(database="not_there").render_as_string(hide_password=False)
        with pytest.raises(EnvironmentFault, match=r"'not_there' .* does not exist"):
            prepare(missing)

    def test_another_kind_of_database(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="HPO_DATABASE_URL is a sqlite URL"):
            open_database(tmp_path, "sqlite:///x.db")
        assert list(tmp_path.iterdir()) == []

    def test_an_old_server(self, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database, "MIN_VERSION", 99)
        with pytest.raises(EnvironmentFault, match="version 99 or newer is needed"):
            prepare(empty_database_url)
        assert tables(empty_database_url)["hpo"] == set()

    def test_a_user_who_may_not_create_schemas(self, empty_database_url: str) -> None:
        engine = create_engine(canonical(empty_database_url))
        url = parse(empty_database_url).set(username="reader").render_as_string(hide_password=False)
        with engine.begin() as connection:
            connection.execute(text("CREATE ROLE reader LOGIN"))
        try:
            with pytest.raises(EnvironmentFault, match=r"may not create the schema 'optuna'.* AUTHORIZATION"):
                prepare(url)
            with engine.begin() as connection:
                _grant(connection)
            prepare(url)
        finally:
            with engine.begin() as connection:
                connection.execute(text("DROP OWNED BY reader CASCADE; DROP ROLE reader"))
            engine.dispose()

    def test_a_user_without_rights_on_the_tables(self, database_url: str) -> None:
        engine = create_engine(canonical(database_url))
        url = parse(database_url).set(username="guest").render_as_string(hide_password=False)
        with engine.begin() as connection:
            connection.execute(text("CREATE ROLE guest LOGIN"))
            connection.execute(text("GRANT USAGE ON SCHEMA optuna, hpo TO guest"))
        try:
            with pytest.raises(EnvironmentFault, match=r"permission denied .*[.] Let the owner of the schemas"):
                prepare(url)
            with pytest.raises(EnvironmentFault, match=r"[.] Let the owner of the schemas"):
                prepare_mlflow(url)
            ledger = PostgresLedger(url)
            with pytest.raises(EnvironmentFault, match="permission denied for table campaign"):
                ledger.campaigns()
            ledger.close()
        finally:
            with engine.begin() as connection:
                connection.execute(text("DROP OWNED BY guest CASCADE; DROP ROLE guest"))
            engine.dispose()

    def test_a_server_that_takes_no_writes(self, database_url: str, tmp_path: Path) -> None:
        make_read_only(database_url, "on")
        with pytest.raises(EnvironmentFault, match=r"takes no writes\. It is a replica.* target_session_attrs"):
            open_database(tmp_path, database_url)
        ledger = PostgresLedger(database_url, patience=timedelta(seconds=1))
        with pytest.raises(StoreUnavailable, match=r"took no writes for 1 seconds .*read-only.* It is a replica"):
            ledger.register_worker(1, WorkerIdentity("host", 1, 0.0))
        ledger.close()

    def test_tables_of_a_newer_version(self, database_url: str) -> None:
        engine = create_engine(canonical(database_url))
        with engine.begin() as connection:
            connection.execute(text("UPDATE hpo.alembic_version SET version_num = '9999'"))
        engine.dispose()
        with pytest.raises(EnvironmentFault, match="revision '9999', which this version does not know"):
            prepare(database_url)

    def test_tables_of_another_optuna(self, database_url: str) -> None:
        engine = create_engine(canonical(database_url))
        with engine.begin() as connection:
            connection.execute(text("UPDATE optuna.alembic_version SET version_num = 'v9.9.9.a'"))
        engine.dispose()
        with pytest.raises(EnvironmentFault, match="Optuna refuses its tables"):
            study_storage(database_url)


def make_read_only(url: str, setting: str) -> None:
    """For every session from now on; those of before are ended."""
    engine = create_engine(canonical(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f"ALTER DATABASE {parse(url).database} SET default_transaction_read_only = {setting}"))
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(text(f"{ending} AND pid <> pg_backend_pid()"))


def test_a_fail_over_is_waited_for_and_the_new_server_found(database_url: str) -> None:
    """A session that takes no writes is given up: only another one can take them."""
    ledger, storage = PostgresLedger(database_url), study_storage(database_url)
    make_read_only(database_url, "on")
    back = threading.Timer(1.0, make_read_only, [database_url, "off"])
    back.start()
    assert ledger.open_campaign(SPEC).spec.name == SPEC.name
    back.join()
    make_read_only(database_url, "on")
    back = threading.Timer(1.0, make_read_only, [database_url, "off"])
    back.start()
    assert storage.create_new_study([StudyDirection.MAXIMIZE], "night/1-capacity") == 1
    back.join()
    storage.engine.dispose()
    ledger.close()


def _grant(connection: Connection) -> None:
    for schema in database.SCHEMAS:
        connection.execute(text(f"CREATE SCHEMA {schema} AUTHORIZATION reader"))


def test_the_users_own_server_is_left_alone(database_url: str, tmp_path: Path) -> None:
    with open_database(tmp_path, database_url) as opened:
        assert not opened.is_embedded
        opened.keep()
    assert list(tmp_path.iterdir()) == []
    assert Database(database_url).url_for("optuna") == url_for(database_url, "optuna")
