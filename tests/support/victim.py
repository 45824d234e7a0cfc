"""A worker in a process of its own that meets with an accident at a named point. Nothing here is in the product: the
points are calls of the ledger, of Optuna's storage and of the runner, seen from outside."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from sqlalchemy import NullPool, create_engine, text

from hpo.adapters import processes
from hpo.adapters.postgres_ledger import PostgresLedger
from hpo.adapters.study_storage import study_storage
from hpo.adapters.urls import canonical
from hpo.champion import choose
from hpo.domain import CampaignState, Progress
from hpo.run_folder import campaign_folder
from hpo.session import handling_signals
from hpo.stage import READY
from hpo.supervisor import StopRequest
from hpo.tiers import COPIED_FROM
from support.simulated import NUM_EPOCHS, SimulatedRunner, configuration, open_campaign, worker

Call = Callable[..., Any]
"""Told the arguments of a call: whether it is the one that is meant."""


def _always(*args: Any, **kwargs: Any) -> bool:
    return True


def _is_new(study_id: int, template: Any = None) -> bool:
    return template is not None and template.state is TrialState.RUNNING


def _is_copy(study_id: int, template: Any = None) -> bool:
    return template is not None and COPIED_FROM in template.user_attrs


def _is_ready(study_id: int, key: str, value: Any) -> bool:
    return key == READY


def _has_progress(claim: Any, lease: Any, progress: Progress | None = None) -> bool:
    return progress is not None


LEDGER: dict[str, tuple[str, str, Call]] = {
    "after claim": ("claim", "after", _always),
    "after bind": ("bind_trial", "after", _always),
    "between renewal and report": ("renew", "after", _has_progress),
    "after tell, before done": ("finish", "before", _always),
    "after done": ("finish", "after", _always),
    "before checkpoint record": ("record_checkpoint", "before", _always),
    "before tier decision": ("decide_tier", "before", _always),
    "after tier decision": ("decide_tier", "after", _always),
    "before champion": ("complete_campaign", "before", _always),
    "after champion": ("complete_campaign", "after", _always),
}
STORAGE: dict[str, tuple[str, str, Call]] = {
    "before trial creation": ("_create_new_trial", "before", _is_new),
    "after trial creation": ("_create_new_trial", "after", _is_new),
    "before parameters": ("write_trial", "before", _always),
    "after parameters": ("write_trial", "after", _always),
    "between report and verdict": ("set_trial_intermediate_value", "after", _always),
    "before tell": ("set_trial_state_values", "before", _always),
    "after study creation": ("create_new_study", "after", _always),
    "between copies": ("_create_new_trial", "after", _is_copy),
    "before study is ready": ("set_study_user_attr", "before", _is_ready),
}
RUNNER = ("amid epoch", "amid checkpoint")
POINTS = (*LEDGER, *STORAGE, *RUNNER)
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "STOP": signal.SIGSTOP}
"""What a fault may do; beside these, DROP ends every connection of the worker at the server."""


@dataclass(frozen=True)
class Fault:
    """What happens to a worker, when it comes to `point` for the nth time."""

    point: str
    action: str
    nth: int = 1


@dataclass(frozen=True)
class Plan:
    """A worker's life. pace: seconds an epoch takes; zone: its time zone; log: where epochs are noted as they begin."""

    url: str
    home: Path
    name: str
    num_trials: int
    log: Path
    fault: Fault | None = None
    lease: float = 60.0
    pace: float = 0.0
    zone: str = "UTC"
    num_epochs: int = NUM_EPOCHS
    max_crashes: int = 3


class Trap:
    """Counts the passages of a point, and strikes at the one that is meant."""

    def __init__(self, plan: Plan) -> None:
        self._fault, self._url = plan.fault, plan.url
        self._struck = plan.log.with_suffix(".struck")
        self._left = plan.fault.nth if plan.fault else 0

    def passing(self, point: str) -> None:
        if self._fault is None or point != self._fault.point:
            return
        self._left -= 1
        if self._left == 0:
            self.strike(self._fault.action)

    def strike(self, action: str) -> None:
        with self._struck.open("a") as file:
            file.write(f"{action}\n")
        if action == "DROP":
            engine = create_engine(canonical(self._url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                        "AND pid <> pg_backend_pid()"
                    )
                )
            return
        os.kill(os.getpid(), SIGNALS[action])

    def surround(self, owner: Any, points: dict[str, tuple[str, str, Call]]) -> None:
        """Let every call that is one of the points come by here."""
        for point, (name, when, is_meant) in points.items():
            setattr(owner, name, self._surrounded(getattr(owner, name), point, when, is_meant))

    def _surrounded(self, original: Call, point: str, when: str, is_meant: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            meant = is_meant(*args, **kwargs)
            if meant and when == "before":
                self.passing(point)
            result = original(*args, **kwargs)
            if meant and when == "after" and not (point == "after claim" and result is None):
                self.passing(point)
            return result

        return call


def live(plan: Plan) -> None:
    """Work until nothing is left or a signal drains, then choose the champion as a sitting does; then exit."""
    os.environ["TZ"] = plan.zone
    time.tzset()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sys.stderr = plan.log.with_suffix(".err").open("a")
    trap = Trap(plan)
    ledger, storage = PostgresLedger(plan.url), study_storage(plan.url)
    trap.surround(ledger, LEDGER)
    trap.surround(storage, STORAGE)

    def begin(folder: Path, epoch: int) -> None:
        note = os.open(plan.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(note, f"{folder.parent.name} {epoch}\n".encode())
        os.close(note)
        time.sleep(plan.pace)
        trap.passing("amid epoch")

    drain = threading.Event()
    runner = SimulatedRunner(begin, lambda: trap.passing("amid checkpoint"))
    settings = {"lease": timedelta(seconds=plan.lease), "max_crashes": plan.max_crashes}
    config, space = configuration(plan.name, plan.num_trials, plan.num_epochs, worker=settings)
    with handling_signals(StopRequest(on_first=drain.set)):
        own = worker(
            ledger,
            storage,
            plan.home,
            config,
            space,
            runner,
            processes.this_process(),
            is_dead=processes.is_dead,
            drain=drain,
        )
        own.run()
        if not drain.is_set():
            with ledger.exclusive(f"champion of {plan.name}"):
                campaign = open_campaign(ledger, config, space)
                if campaign.state is not CampaignState.COMPLETE:
                    runs = campaign_folder(plan.home, plan.name)
                    ledger.complete_campaign(campaign.id, choose(campaign, runs))
    os._exit(0)
