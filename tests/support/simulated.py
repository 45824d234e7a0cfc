"""A search without training: real ledger, real Optuna, real run folders; only the curves are made up."""

from __future__ import annotations

import math
import random
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from hpo.adapters.clock import SystemClock
from hpo.config import SearchConfig
from hpo.domain import Campaign, CampaignSpec, WorkerIdentity
from hpo.objective import Objective
from hpo.ports import Ledger, TrialEnd, TrialRequest
from hpo.run_folder import Attempt, campaign_folder
from hpo.tiers import plan_tiers
from hpo.worker import Worker
from search_spaces import Space, parse_space
from trainer.reports import EpochReport, Verdict

NUM_EPOCHS = 6
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
        self, request: TrialRequest, on_epoch: Callable[[EpochReport], Verdict], stop: Callable[[], bool]
    ) -> TrialEnd:
        attempt = Attempt(request.folder)
        scores: list[float] = []
        past = len(self._past(request.folder))
        for epoch, score in enumerate(curve(request.config), start=1):
            if stop():
                return TrialEnd("stopped")
            if epoch > past:
                self._before_epoch(request.folder, epoch)
                self.trained.append((request.folder.parent.name, epoch))
            scores.append(score)
            report = EpochReport(epoch, score, {"valid/rank_ic": score}, {"rank_ic": np.zeros(3, np.float32)}, 0.01)
            if epoch > past:
                self._save(request.folder, epoch)
            attempt.append_epoch(report)
            if on_epoch(report) is Verdict.STOP:
                return TrialEnd("stopped", best_epoch=epoch, num_parameters=1000)
        (request.folder / "best.pt").write_text(f"weights of {request.config['train']['seed']}")
        return TrialEnd("finished", sum(scores[-3:]) / 3, len(scores), request.config["model"]["hidden_size"] * 100)

    def close(self) -> None:
        """Nothing is held."""

    def _save(self, folder: Path, epoch: int) -> None:
        """As the trainer does it: beside, then renamed, the one before kept."""
        last, temporary = folder / "last.pt", folder / ".last.pt.tmp"
        temporary.write_text(f"epoch {epoch}")
        self._saving()
        temporary.write_text(f"epoch {epoch} whole")
        if last.exists():
            last.replace(folder / "previous.pt")
        temporary.replace(last)

    def _past(self, folder: Path) -> Sequence[int]:
        """Epochs that need not be trained again: those of the newest whole checkpoint."""
        for checkpoint in (folder / "last.pt", folder / "previous.pt"):
            whole = checkpoint.exists() and re.fullmatch(rb"epoch (\d+) whole", checkpoint.read_bytes())
            if whole:
                return range(int(whole[1]))
        return ()


def curve(config: Any) -> list[float]:
    """Scores per epoch: a pure function of the configuration and its seed."""
    rate, width = config["optim"]["lr"], config["model"]["hidden_size"]
    quality = 0.06 - 0.01 * abs(math.log10(rate / 3e-3)) - 0.005 * abs(math.log2(width / 64))
    noise = random.Random(config["train"]["seed"])
    epochs = range(1, config["train"]["epochs"] + 1)
    return [quality * (1 - math.exp(-epoch / 2)) + noise.gauss(0, 0.003) for epoch in epochs]


def configuration(
    name: str, num_trials: int, num_epochs: int = NUM_EPOCHS, **changes: Any
) -> tuple[SearchConfig, Space]:
    """A small space of three tiers with short curves."""
    values = SearchConfig(study=name, trials=num_trials).model_dump()
    values["trainer"]["train"]["epochs"] = num_epochs
    values["pruner"] = {"name": "median", "options": {"n_startup_trials": 2, "n_warmup_steps": 2}}
    values.update(changes)
    return SearchConfig.model_validate(values), parse_space(SPACE, "simulated", "the simulated space")


def open_campaign(ledger: Ledger, config: SearchConfig, space: Space) -> Campaign:
    """The campaign with the tiers the search would plan."""
    plan = plan_tiers(config.trials, [tier.name for tier in space.tiers], config.tiers)
    stored = {"search": config.model_dump(mode="json")}
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
) -> Worker:
    """A worker of the campaign that trains by simulation."""
    campaign = open_campaign(ledger, config, space)
    objective = Objective(
        campaign, config, space, ledger, storage, runner, home, campaign_folder(home, config.study), identity
    )
    return Worker(
        ledger, objective, campaign, identity, config.worker, SystemClock(), is_dead, drain or threading.Event()
    )
