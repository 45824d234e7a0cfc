"""What a worker's fork server imports instead of the trainer: trainings that are made up, in trial processes that are
real and meet with accidents at named points. The trial's own boundary, `hpo.adapters.processes.runners`, is the
product's."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.adapters.processes import runners
from support.plans import PLAN, Trap, begin
from support.training import train
from trainer.config import TrainerConfig
from trainer.reports import EpochReport, FitResult, Reporter, Verdict

_plan = pickle.loads(bytes.fromhex(os.environ[PLAN]))
_trap = Trap(_plan)
"""Set by the fork server: every trial begins to count anew, but all of them together are struck a number of times."""


class _Trapped:
    """A reporter that passes the points before and after a report."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def report(self, report: EpochReport) -> Verdict:
        _trap.passing("trial, between checkpoint and report")
        verdict = self._reporter.report(report)
        _trap.passing("trial, between report and verdict")
        return verdict

    def poll(self) -> Verdict:
        return self._reporter.poll()


def fit(config: TrainerConfig, data: Any, reporter: Reporter, folder: Path) -> FitResult:
    return train(
        config.model_dump(mode="json"),
        _Trapped(reporter),
        folder,
        lambda folder, epoch: begin(_plan, _trap, "trial, amid epoch", folder, epoch),
        lambda: _trap.passing("trial, amid checkpoint"),
    )


runners._refuse_what_does_not_fit = lambda request, config, data: None  # that looks at the panel with torch
for _name, _parts in {
    "trainer.training.loop": {"fit": fit},
    "trainer.data": {"open_training": lambda folder: None},
}.items():
    _module = ModuleType(_name)
    vars(_module).update(_parts)
    sys.modules[_name] = _module
