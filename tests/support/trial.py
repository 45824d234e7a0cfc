"""What a worker's fork server imports instead of the trainer: trainings that are made up, in trial processes that are
real and meet with accidents at named points. The trial's own boundary, `hpo.adapters.processes.runners`, is the
product's."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from hpo.domain.training import Decision, EpochReport, FitResult, Reporter
from hpo.ranking.ranker import Ranker
from support.plans import PLAN, Trap, begin
from support.training import train

_plan = pickle.loads(bytes.fromhex(os.environ[PLAN]))
_trap = Trap(_plan)
"""Set by the fork server: every trial begins to count anew, but all of them together are struck a number of times."""


class _Trapped:
    """A reporter that passes the points before and after a report."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def report(self, report: EpochReport) -> Decision:
        _trap.passing("trial, between checkpoint and report")
        decision = self._reporter.report(report)
        _trap.passing("trial, between report and verdict")
        return decision

    def poll(self) -> Decision:
        return self._reporter.poll()


def fit(self: Ranker, settings: Any, data: Path, reporter: Reporter, folder: Path, *, seed: int = 0) -> FitResult:
    return train(
        self.plain(settings),
        _Trapped(reporter),
        folder,
        lambda folder, epoch: begin(_plan, _trap, "trial, amid epoch", folder, epoch),
        lambda: _trap.passing("trial, amid checkpoint"),
    )


Ranker.fit = fit  # type: ignore[method-assign]  # in this process nothing else trains
Ranker.check_memory = lambda self, settings, data, limit: None  # type: ignore[method-assign]  # there are no data
