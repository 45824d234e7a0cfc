"""What the trainer says while it trains, and what it may be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Verdict(StrEnum):
    """The answer to an epoch report."""

    CONTINUE = "continue"
    STOP = "stop"


class Ending(StrEnum):
    """Why a run ended without failing."""

    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    STOPPED = "stopped"  # somebody answered STOP


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    epoch: counted from 1.
    score: the monitored metric of this epoch (`train.monitor`), to be maximised; always finite.
    metrics: every scalar of the epoch by name, e.g. `valid/rank_ic_5d`, `train/loss`, `system/samples_per_second`.
    daily: per-day validation series by metric name (`rank_ic_5d`, `neutral_rank_ic_5d`, `lag1_rank_ic_5d`,
        ...), float32 [V], V = validation days, NaN on days with too few valid stocks.
    seconds: wall-clock time of the epoch. It and the metrics under `system/` are all that differs between two runs
        of one seed.
    """

    epoch: int
    score: float
    metrics: Mapping[str, float]
    daily: Mapping[str, NDArray[np.float32]]
    seconds: float


class Reporter(Protocol):
    """Who listens to a run."""

    def report(self, report: EpochReport) -> Verdict:
        """Take one epoch, in order. After a resume it is first called again for every epoch of the checkpoint,
        so it must be idempotent by epoch. It may block until the verdict on the epoch before is known. Answered STOP,
        the epoch is not taken: it will not be in `model.pt`. Who wants it taken answers the next `poll` with STOP."""
        ...

    def poll(self) -> Verdict:
        """Asked between optimizer steps; never blocks."""
        ...


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    reports: all epochs, oldest first (those before a resume included).
    score: mean of the last `train.score_epochs` epoch scores: what the run is judged by.
    last_epoch: the last epoch that the reporter took; the weights in `model.pt` are those at its end. 0: none.
    """

    ending: Ending
    reports: tuple[EpochReport, ...]
    score: float
    last_epoch: int
    num_parameters: int
