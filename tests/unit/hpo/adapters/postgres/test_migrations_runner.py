"""Migrations and models agree, go up and down beside Optuna's and MLflow's tables, and are found wherever we are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, MetaData, create_engine, inspect, text

from hpo.adapters.ledger.models import SCHEMA, Base
from hpo.adapters.postgres import migrations_runner
from hpo.adapters.postgres.urls import url_for

LONGEST_NAME = 63
"""Bytes; PostgreSQL cuts longer names off."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(url_for(database_url))
    yield engine
    engine.dispose()


def differences(engine: Engine, metadata: MetaData = Base.metadata) -> list[object]:
    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "schema" or name == SCHEMA

    with engine.connect() as connection:
        options = {"include_schemas": True, "include_name": ours, "version_table_schema": SCHEMA}
        return list(
            compare_metadata(MigrationContext.configure(connection, opts={**options, "compare_type": True}), metadata)
        )


def constraints(engine: Engine) -> set[tuple[str, str, str]]:
    """Tables, names and definitions: autogenerate compares no CHECK constraints and no index conditions."""
    question = """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'hpo'::regnamespace AND contype <> 'n' AND conname NOT LIKE 'alembic%'
        UNION ALL
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'hpo' AND tablename <> 'alembic_version'
    """
    with engine.connect() as connection:
        return {(row[0], row[1], row[2]) for row in connection.execute(text(question))}


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    assert differences(engine) == []
    migrated = constraints(engine)
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    assert constraints(engine) == migrated


def test_the_comparison_sees_a_difference(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE hpo.slot DROP COLUMN reason"))
    assert differences(engine) != []


def test_down_and_up_again_beside_the_others(engine: Engine, database_url: str) -> None:
    from hpo.adapters.postgres.database import prepare_mlflow

    prepare_mlflow(database_url)
    before = {schema: set(inspect(engine).get_table_names(schema)) for schema in ("optuna", "mlflow")}
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO optuna.studies (study_name) VALUES ('kept')"))
        migrations_runner.downgrade(connection, "base")
    assert set(inspect(engine).get_table_names(SCHEMA)) == {"alembic_version"}
    with engine.begin() as connection:
        assert migrations_runner.current(connection) is None
        migrations_runner.upgrade(connection)
        assert migrations_runner.current(connection) == migrations_runner.head()
        assert connection.scalar(text("SELECT study_name FROM optuna.studies")) == "kept"
    assert differences(engine) == []
    assert {schema: set(inspect(engine).get_table_names(schema)) for schema in ("optuna", "mlflow")} == before


def test_a_failed_migration_leaves_nothing_behind(engine: Engine) -> None:
    with engine.begin() as connection:
        migrations_runner.downgrade(connection, "base")
    with engine.connect() as connection, connection.begin() as transaction:
        migrations_runner.upgrade(connection)
        assert migrations_runner.current(connection) is not None
        transaction.rollback()
    assert set(inspect(engine).get_table_names(SCHEMA)) == {"alembic_version"}


def test_names_are_legal() -> None:
    names = [
        str(item.name)
        for table in Base.metadata.tables.values()
        for item in (table, *table.columns, *table.constraints, *table.indexes)
    ]
    assert len(names) > 50
    assert [name for name in names if len(name.encode()) > LONGEST_NAME or name != name.lower()] == []
    assert "None" not in names, "an unnamed constraint cannot be migrated"


def test_the_package_holds_the_migrations() -> None:
    root = migrations_runner.MIGRATIONS
    assert {path.name for path in root.iterdir()} >= {"env.py", "script.py.mako", "versions"}
    assert not (root / "__init__.py").exists(), "it would hide the library `alembic`"


@pytest.mark.parametrize(
    ("words", "said"),
    [("current", f"{migrations_runner.head()} (head)"), ("check", "No new upgrade operations"), ("upgrade head", "")],
)
def test_alembics_own_commands_work_in_a_checkout(database_url: str, words: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "alembic", *words.split()],
        cwd=Path(__file__).resolve().parents[5],
        env={**os.environ, "HPO_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
