"""The stores of a campaign on a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage


@pytest.fixture
def ledger(database_url: str) -> Iterator[PostgresLedger]:
    ledger = PostgresLedger(database_url)
    yield ledger
    ledger.close()


@pytest.fixture
def storage(database_url: str) -> Iterator[Any]:
    storage = study_storage(database_url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()
