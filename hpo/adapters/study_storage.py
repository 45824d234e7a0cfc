"""Optuna's storage on our database, with connections that suit long searches."""

from __future__ import annotations

from optuna.storages import RDBStorage

from hpo.adapters.urls import url_for


def study_storage(url: str, *, create_tables: bool = False) -> RDBStorage:
    """Optuna's storage in the schema `optuna`.

    Tables are created by `database.prepare` alone, under a lock; everybody else skips that. There is no heartbeat:
    leases are the ledger's. At most two connections, each tested before use, because idle ones get dropped.
    """
    return RDBStorage(
        url_for(url, "optuna", "tiertune-optuna"),
        engine_kwargs={"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True},
        skip_table_creation=not create_tables,
    )
