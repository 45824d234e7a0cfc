"""Optuna's storage on our database: connections that suit long searches, and patience with a database that is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, cast

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hpo.adapters.optuna import trial_statements as statements
from hpo.adapters.postgres.retry import Patience, leave_replicas, single_statements
from hpo.adapters.postgres.urls import KEEPALIVE, place, url_for
from hpo.adapters.processes.clock import SystemClock
from hpo.domain.errors import EnvironmentFault
from hpo.engine.study_cache import Given

Result = TypeVar("Result")

TRANSACTIONS = (
    "create_new_study",
    "get_all_studies",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial_id_from_study_id_trial_number",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_param",
    "set_trial_system_attr",
    "set_trial_user_attr",
    # What the cache in front of this storage calls instead of the public ones.
    "_get_best_trial_id",
    "_set_trial_param",
)
"""Methods that are one transaction each and may be repeated: they read, or write the same row again."""


def study_storage(url: str, *, create_tables: bool = False) -> PatientStorage:
    """Optuna's storage in the schema `optuna`.

    Tables are created by `database.prepare` alone, under a lock; everybody else skips that. There is no heartbeat:
    leases are the ledger's. One connection, and a second while the tables' version is looked up; where it was
    dropped, the statement is repeated on another, and the opening too.

    Raises:
        EnvironmentFault: the tables were made by another Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # that a study was made is our news, not Optuna's

    def open_it() -> PatientStorage:
        return PatientStorage(
            url_for(url, "optuna", "tiertune-optuna"),
            engine_kwargs={"pool_size": 1, "max_overflow": 1, "connect_args": KEEPALIVE},
            skip_table_creation=not create_tables,
        )

    try:
        with _loggers_left_alone():
            return Patience(url, SystemClock()).run(lambda _: _with_driver_errors(open_it))
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
    """Optuna's storage that repeats a transaction while the database's errors are temporary, and takes each step of a
    trial in one statement.

    Raises StoreUnavailable, from any method, when they last longer than `retry.PATIENCE`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        leave_replicas(self.engine)
        self._patience = Patience(self.url, SystemClock())
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

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial = self._alone(lambda connection: statements.read_one(connection, trial_id))
        if trial is None:
            raise KeyError(f"there is no trial with the id {trial_id}")
        return trial

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        found = self._alone(lambda c: statements.read(c, study_id, trial_id_greater_than, included_trial_ids))
        return [trial for trial in found if states is None or trial.state in states]

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        template = template_trial or create_trial(state=TrialState.RUNNING)
        attempts = 0

        def transaction() -> FrozenTrial:
            nonlocal attempts
            attempts += 1
            with self.engine.begin() as connection:
                # Is it there already, the first attempt got through, only its answer was lost.
                known = statements.read(connection, study_id, -1, ()) if attempts > 1 else []
                made = next((trial for trial in reversed(known) if _same(trial, template)), None)
                return made or statements.create(connection, study_id, template)

        return cast("FrozenTrial", self.patiently(transaction))

    def write_trial(self, trial_id: int, params: Given, user_attrs: Mapping[str, Any]) -> None:
        """See `hpo.engine.study_cache.Backend`."""
        if not self._alone(lambda connection: statements.write(connection, trial_id, params, user_attrs)):
            self._refuse(trial_id)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        if not self._alone(lambda connection: statements.report(connection, trial_id, step, intermediate_value)):
            self._refuse(trial_id)

    def set_trial_state_values(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None = None,
        user_attrs: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """See `hpo.engine.study_cache.Backend`."""
        if not state.is_finished():
            change = super().set_trial_state_values
            return bool(self.patiently(lambda: change(trial_id, state, values)))
        attempts = 0

        def transaction(connection: Connection) -> bool:
            nonlocal attempts
            attempts += 1
            return statements.finish(connection, trial_id, state, values or (), user_attrs)

        # Finished already, at a repeated attempt: the first one got through, only its answer was lost.
        if not self._alone(transaction) and not (attempts > 1 and self.get_trial(trial_id).state is state):
            self._refuse(trial_id)
        return True

    def _alone(self, statement: Callable[[Connection], Result]) -> Result:
        """The statement's result, in a transaction of its own."""

        def transaction() -> Result:
            with single_statements(self.engine) as connection:
                return statement(connection)

        return cast("Result", self.patiently(transaction))

    def _refuse(self, trial_id: int) -> NoReturn:
        state = self.get_trial(trial_id).state
        self.check_trial_is_updatable(trial_id, state)
        raise UpdateFinishedTrialError(f"trial {trial_id} is {state.name} and cannot be written to")


def _same(trial: FrozenTrial, template: FrozenTrial) -> bool:
    """Whether a trial was made from a template that says whose it is."""
    said = trial.state, trial.params, trial.user_attrs
    return bool(template.user_attrs) and said == (template.state, template.params, template.user_attrs)


def _with_driver_errors(transaction: Callable[[], Result]) -> Result:
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
