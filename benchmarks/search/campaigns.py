"""One campaign of the real engine on a made-up surface: its stages, samplers, pruners, tiers and decisions, with stores
in memory and trainings by formula."""

from __future__ import annotations

import math
import statistics
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.search.surfaces import EPOCHS, SCORE_EPOCHS, SPACE, Surface
from hpo.adapters.processes.clock import SystemClock
from hpo.domain.campaign import CampaignSpec, WorkerIdentity
from hpo.domain.config import PrunerConfig, SamplerConfig, SearchConfig, TierPolicy
from hpo.domain.ports import TrialEnd, TrialRequest
from hpo.domain.training import Decision, EpochReport
from hpo.engine.objective import Objective
from hpo.engine.tiers import plan_tiers
from hpo.engine.worker import Worker
from hpo.ranking.ranker import Ranker
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.campaigns import metrics_of
from search_spaces import Value

SHARED_MEMORY = Path("/dev/shm")
"""Where run folders are written if it exists: nothing of them is kept."""


@dataclass(frozen=True)
class Result:
    """What a campaign ended with. regret: in RankIC, of what was chosen; epochs: trained in all; is_default: whether
    the default configuration was chosen; gain, error: claimed over the default, 0 where it was chosen; true_gain.
    late_regret: mean over the last quarter of the trainings, whatever was chosen."""

    regret: float
    epochs: int
    is_default: bool
    gain: float
    error: float
    true_gain: float
    late_regret: float = math.nan


class FormulaRunner:
    """`hpo.domain.ports.TrialRunner` whose curves come from a surface."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self.num_epochs = 0
        self.regrets: list[float] = []

    def run(
        self, request: TrialRequest, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]
    ) -> TrialEnd:
        values = _values(request.config)
        self.regrets.append(self._surface.regret(values))
        curve = self._surface.curve(values, request.seed)
        for epoch, score in enumerate(curve, start=1):
            self.num_epochs += 1
            if on_epoch(EpochReport(epoch, score, {}, {}, 0.0)) is not Decision.CONTINUE:
                return TrialEnd("stopped")
        return TrialEnd("finished", score=statistics.fmean(curve[-SCORE_EPOCHS:]), last_epoch=EPOCHS)

    def close(self) -> None:
        """Nothing is held."""


def configuration(num_trials: int, seed: int, sampler: str, mode: str, pruner: PrunerConfig) -> SearchConfig:
    """A campaign's settings: the engine's defaults but for what is compared."""
    base = SearchConfig(study="laboratory", trials=num_trials, seed=seed)
    return base.model_copy(
        update={
            "sampler": SamplerConfig(name=sampler),
            "pruner": pruner,
            "tiers": TierPolicy.model_validate({"mode": mode}),
            "trainer": {"train": {"epochs": EPOCHS, "score_epochs": SCORE_EPOCHS}},
        }
    )


def run(config: SearchConfig, surface: Surface) -> Result:
    """Bring a campaign on this surface to its last decision."""
    ledger, storage, runner = MemoryLedger(SystemClock()), MemoryStorage(), FormulaRunner(surface)
    identity = WorkerIdentity("laboratory", 1, 0.0)
    plan = plan_tiers(config.trials, [tier.name for tier in SPACE.tiers], config.tiers)
    stored = {"search": config.model_dump(mode="json"), "metrics": [asdict(metric) for metric in metrics_of(config)]}
    campaign = ledger.open_campaign(CampaignSpec(config.study, stored, {}, plan, config.seed))
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.exists() else None) as folder:
        runs = Path(folder)
        objective = Objective(campaign, config, SPACE, Ranker(), ledger, storage, runner, runs, runs, identity, "")
        Worker(
            ledger, objective, campaign, identity, config.worker, SystemClock(), lambda _: False, threading.Event()
        ).run()
    decided = ledger.find_campaign(config.study)
    assert decided is not None, "it was just worked on"
    late = statistics.fmean(runner.regrets[-max(1, len(runner.regrets) // 4) :])
    return replace(_result(decided.decisions[len(plan)], surface, runner.num_epochs), late_regret=late)


def _result(decision: Mapping[str, Any], surface: Surface, num_epochs: int) -> Result:
    default = SPACE.defaults()
    is_default = decision["slot"] in (1, None)
    lead = decision["lead"]
    is_claimed = lead is not None and not is_default
    return Result(
        regret=surface.regret(decision["values"]),
        epochs=num_epochs,
        is_default=is_default,
        gain=lead["gain"] if is_claimed else 0.0,
        error=lead["error"] if is_claimed else 0.0,
        true_gain=surface.level(decision["values"]) - surface.level(default),
    )


def _values(config: Mapping[str, Any]) -> dict[str, Value]:
    """The space's settings out of a resolved trainer configuration."""
    names = [dimension.name.split(".") for dimension in SPACE.dimensions]
    return {f"{section}.{field}": config[section][field] for section, field in names}
