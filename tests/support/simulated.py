"""A search without training: real ledger, real Optuna, real run folders; only the curves are made up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna

from hpo.adapters.processes.clock import SystemClock
from hpo.adapters.processes.ends import end_of
from hpo.adapters.processes.runners import DirectReporter
from hpo.domain.campaign import Campaign, CampaignSpec, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.ports import Ledger, TrialEnd, TrialRequest
from hpo.domain.training import Decision, EpochReport
from hpo.engine.objective import Objective
from hpo.engine.stage import Stage
from hpo.engine.strategies.schedulers import Scheduler
from hpo.engine.tiers import plan_tiers
from hpo.engine.uploads import Uploads
from hpo.engine.worker import Worker
from hpo.ranking.ranker import Ranker
from hpo.runs.folder import Attempt, campaign_folder
from hpo.usecases.campaigns import metrics_of
from search_spaces import Space, dump_space, parse_space
from support.training import NUM_EPOCHS, train

SPACE = """
settings:
  model.kind: atft_gat_fan
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-4, high: 3.0e-2, log: true, default: 2.0e-3}
    train.batch_size: {type: choice, choices: [1024, 2048, 4096], ordered: true, default: 2048}
    model.hidden_size: {type: choice, choices: [16, 32, 64], ordered: true, default: 32}
  regularisation:
    model.dropout: {type: float, low: 0.0, high: 0.4, default: 0.1}
    model.num_heads: {type: choice, choices: [1, 2, 4], ordered: true, default: 2}
    model.num_layers: {type: integer, low: 1, high: 3, default: 1}
  objective:
    loss.rank_ic: {type: float, low: 0.0, high: 1.0, default: 0.3}
    optim.warmup_fraction: {type: float, low: 0.0, high: 0.3, default: 0.1}
    optim.clip_norm: {type: float, low: 0.1, high: 10.0, log: true, default: 1.0}
"""


CODE = "c0de" * 16
"""Fingerprint of the code that every simulated trial was trained with."""


class SimulatedRunner:
    """Curves that rise towards a quality given by learning rate and width, with noise from the trial's own seed.

    before_epoch: called with (slot's folder, epoch); whatever it raises ends the run as a killed process would.
    saving: called when half of an epoch's checkpoint is written.
    """

    def __init__(
        self,
        before_epoch: Callable[[Path, int], None] = lambda folder, epoch: None,
        saving: Callable[[], None] = lambda: None,
    ) -> None:
        self._before_epoch, self._saving = before_epoch, saving
        self.trained: list[tuple[str, int]] = []

    def run(
        self, request: TrialRequest, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]
    ) -> TrialEnd:
        reporter = DirectReporter(Attempt(request.folder), on_epoch, stop)
        return end_of(train(request.config, reporter, request.folder, self._begin, self._saving))

    def close(self) -> None:
        """Nothing is held."""

    def _begin(self, folder: Path, epoch: int) -> None:
        self._before_epoch(folder, epoch)
        self.trained.append((folder.parent.name, epoch))


def configuration(
    name: str, num_trials: int, num_epochs: int = NUM_EPOCHS, **changes: Any
) -> tuple[SearchConfig, Space]:
    """A small space of three tiers with short curves."""
    values = SearchConfig(study=name, trials=num_trials).model_dump()
    values["trainer"] = {"train": {"epochs": num_epochs}}
    values["pruner"] = {"name": "median", "options": {"n_startup_trials": 2, "n_warmup_steps": 2}}
    values.update(changes)
    return SearchConfig.model_validate(values), parse_space(SPACE, "simulated", "the simulated space")


def open_campaign(ledger: Ledger, config: SearchConfig, space: Space) -> Campaign:
    """The campaign with the tiers the search would plan."""
    plan = plan_tiers(config.trials, [tier.name for tier in space.tiers], config.tiers)
    stored = {
        "search": config.model_dump(mode="json"),
        "space": {"name": space.name, "yaml": dump_space(space)},
        "num_epochs": NUM_EPOCHS,
        "metrics": [asdict(metric) for metric in metrics_of(config)],
    }
    return ledger.open_campaign(CampaignSpec(config.study, stored, {"config": "x"}, plan, config.seed))


def worker(
    ledger: Ledger,
    storage: optuna.storages.BaseStorage,
    home: Path,
    config: SearchConfig,
    space: Space,
    runner: SimulatedRunner,
    identity: WorkerIdentity,
    is_dead: Callable[[WorkerIdentity], bool] = lambda identity: False,
    drain: threading.Event | None = None,
    scheduler: Callable[[Stage], Scheduler] = Stage.scheduler,
    uploads: Uploads | None = None,
) -> Worker:
    """A worker of the campaign that trains by simulation."""
    campaign = open_campaign(ledger, config, space)
    objective = Objective(
        campaign,
        config,
        space,
        Ranker(),
        ledger,
        storage,
        runner,
        home,
        campaign_folder(home, config.study),
        identity,
        CODE,
        scheduler,
        uploads,
    )
    return Worker(
        ledger, objective, campaign, identity, config.worker, SystemClock(), is_dead, drain or threading.Event()
    )
