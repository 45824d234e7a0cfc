"""Optuna's storage on our database, with connections that suit long searches."""

from __future__ import annotations

from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from hpo.adapters.urls import place, unreachable, url_for
from hpo.errors import EnvironmentFault


def study_storage(url: str, *, create_tables: bool = False) -> RDBStorage:
    """Optuna's storage in the schema `optuna`.

    Tables are created by `database.prepare` alone, under a lock; everybody else skips that. There is no heartbeat:
    leases are the ledger's. At most two connections, each tested before use, because idle ones get dropped.

    Raises:
        EnvironmentFault: the server does not answer, or the tables are of another Optuna version.
    """
    try:
        return RDBStorage(
            url_for(url, "optuna", "tiertune-optuna"),
            engine_kwargs={"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True},
            skip_table_creation=not create_tables,
        )
    except OperationalError as error:
        raise unreachable(url, error.orig or error) from error
    except RuntimeError as error:  # Optuna's word for tables of another version; it says what to do
        raise EnvironmentFault(f"Optuna refuses its tables in the {place(url)}: {error}") from error
