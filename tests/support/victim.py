"""A worker in a process of its own that meets with an accident at a named point. Nothing here is in the product: the
points are calls of the ledger, of Optuna's storage and of the runner, seen from outside."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.processes import host as processes
from hpo.adapters.processes import runners
from hpo.cli import EXIT_ENVIRONMENT
from hpo.domain.campaign import CampaignState, Progress
from hpo.domain.config import SearchConfig
from hpo.domain.errors import EnvironmentFault
from hpo.domain.ports import TrialRunner
from hpo.engine.stage import READY
from hpo.engine.supervisor import StopRequest
from hpo.engine.tiers import COPIED_FROM
from hpo.runs.archive import Archive
from hpo.runs.folder import campaign_folder
from hpo.usecases.champion import choose
from hpo.usecases.session import handling_signals
from search_spaces import Space
from support import clocks
from support.plans import PLAN, Plan, Trap, begin, note
from support.simulated import SimulatedRunner, configuration, open_campaign, worker

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


def surround(trap: Trap, owner: Any, points: dict[str, tuple[str, str, Call]]) -> None:
    """Let every call that is one of the points come by the trap."""
    for point, (name, when, is_meant) in points.items():
        setattr(owner, name, _surrounded(trap, getattr(owner, name), point, when, is_meant))


def _surrounded(trap: Trap, original: Call, point: str, when: str, is_meant: Call) -> Call:
    def call(*args: Any, **kwargs: Any) -> Any:
        meant = is_meant(*args, **kwargs)
        if meant and when == "before":
            trap.passing(point)
        result = original(*args, **kwargs)
        if meant and when == "after" and not (point == "after claim" and result is None):
            trap.passing(point)
        return result

    return call


def live(plan: Plan) -> None:
    """Work until nothing is left or a signal drains, then choose the champion as a sitting does; then exit."""
    os.environ["TZ"] = plan.zone
    time.tzset()
    clocks.shift(plan.skew)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sys.stderr = plan.log.with_suffix(".err").open("a")
    trap = Trap(plan)
    ledger, storage = PostgresLedger(plan.url), study_storage(plan.url)
    surround(trap, ledger, LEDGER)
    surround(trap, storage, STORAGE)
    drain = threading.Event()
    runner: TrialRunner = SimulatedRunner(
        lambda folder, epoch: begin(plan, trap, "amid epoch", folder, epoch), lambda: trap.passing("amid checkpoint")
    )
    if plan.own_process:
        os.environ[PLAN] = pickle.dumps(plan).hex()
        runners.PRELOAD[:] = ["hpo.adapters.processes.runners", "support.trial"]
        runner = runners.ProcessRunner()
    settings = {"lease": timedelta(seconds=plan.lease)}
    chosen = {"sampler": {"name": plan.sampler}, "worker": settings}
    config, space = configuration(plan.name, plan.num_trials, plan.num_epochs, **chosen)
    identity = processes.this_process()
    try:
        with handling_signals(StopRequest(on_first=drain.set)):
            own = worker(
                ledger, storage, plan.home, config, space, runner, identity, is_dead=processes.is_dead, drain=drain
            )
            own.run()
            if not drain.is_set():
                _crown(plan, ledger, config, space)
    except EnvironmentFault as fault:
        note(plan.log.with_suffix(".err"), str(fault))
        os._exit(EXIT_ENVIRONMENT)
    os._exit(0)


def _crown(plan: Plan, ledger: PostgresLedger, config: SearchConfig, space: Space) -> None:
    with ledger.exclusive(f"champion of {plan.name}"):
        campaign = open_campaign(ledger, config, space)
        if campaign.state is not CampaignState.COMPLETE:
            archive = Archive(campaign_folder(plan.home, plan.name), ledger.checkpoints(campaign.id))
            ledger.complete_campaign(campaign.id, choose(campaign, archive).as_plain())
