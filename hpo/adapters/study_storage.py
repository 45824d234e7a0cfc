"""Optuna's storage on our database: connections that suit long searches, and patience with a database that is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hpo.adapters.clock import SystemClock
from hpo.adapters.retry import Patience
from hpo.adapters.urls import place, url_for
from hpo.errors import EnvironmentFault

TRANSACTIONS = (
    "create_new_study",
    "create_new_trial",
    "get_all_studies",
    "get_all_trials",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_param",
    "set_trial_system_attr",
    "set_trial_user_attr",
    # What the cache in front of this storage calls instead of the public ones.
    "_create_new_trial",
    "_get_best_trial_id",
    "_get_trials",
    "_set_trial_param",
)
"""Methods that are one transaction each and may be repeated: they read, or write the same row again. A trial that was
created twice because a commit's answer was lost is put right by whoever opens the slot's trial."""


def study_storage(url: str, *, create_tables: bool = False) -> RDBStorage:
    """Optuna's storage in the schema `optuna`.

    Tables are created by `database.prepare` alone, under a lock; everybody else skips that. There is no heartbeat:
    leases are the ledger's. At most two connections, each tested before use, because idle ones get dropped.

    Raises:
        EnvironmentFault: the tables were made by another Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # that a study was made is our news, not Optuna's
    try:
        with _loggers_left_alone():
            return PatientStorage(
                url_for(url, "optuna", "tiertune-optuna"),
                engine_kwargs={"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True},
                skip_table_creation=not create_tables,
            )
    except RuntimeError as error:  # Optuna's word for tables of another version
        raise EnvironmentFault(f"Optuna refuses its tables in the {place(url)}: {error}") from error


@contextmanager
def _loggers_left_alone() -> Iterator[None]:
    """Optuna's migrations configure logging from a file, which switches off every logger there is."""
    loggers = [item for item in logging.root.manager.loggerDict.values() if isinstance(item, logging.Logger)]
    states = [(logger, logger.disabled) for logger in loggers]
    level, handlers = logging.root.level, list(logging.root.handlers)
    try:
        yield
    finally:
        for logger, disabled in states:
            logger.disabled = disabled
        logging.root.setLevel(level)
        logging.root.handlers[:] = handlers


class PatientStorage(RDBStorage):
    """Repeats a transaction while the database's errors are temporary.

    Raises StoreUnavailable, from any method, when they last longer than `retry.PATIENCE`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = Patience(self.engine, SystemClock())
        self._nesting = threading.local()

    def patiently(self, transaction: Callable[[], Any]) -> Any:
        """The transaction's result. One that is part of another is repeated with that one."""
        if getattr(self._nesting, "inside", False):
            return transaction()
        self._nesting.inside = True
        try:
            return self._patience.run(lambda _: _with_driver_errors(transaction))
        finally:
            self._nesting.inside = False

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        repeated = False

        def transaction() -> bool:
            nonlocal repeated
            try:
                return super(PatientStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if repeated and self.get_trial(trial_id).state is state:
                    return True  # the first attempt got through; only its answer was lost
                raise
            finally:
                repeated = True

        return bool(self.patiently(transaction))


def _with_driver_errors(transaction: Callable[[], Any]) -> Any:
    """Optuna wraps what the driver says; whether it passes by itself is written in the driver's own words."""
    try:
        return transaction()
    except StorageInternalError as error:
        if isinstance(error.__cause__, DBAPIError | PoolTimeout):
            raise error.__cause__ from error
        raise


def _patient(name: str) -> Callable[..., Any]:
    original = getattr(RDBStorage, name)

    @wraps(original)
    def method(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patiently(lambda: original(self, *args, **kwargs))

    return method


for _name in TRANSACTIONS:
    setattr(PatientStorage, _name, _patient(_name))
