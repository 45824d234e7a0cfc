"""What is said while a trial trains: epoch reports, the decisions on them, and how a training ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Decision(StrEnum):
    """The answer to an epoch report. A training is told STOP where it is paused, too: to it both are the same."""

    CONTINUE = "continue"
    STOP = "stop"
    PAUSE = "pause"  # the checkpoint is kept, and the training goes on later


class Ending(StrEnum):
    """Why a training ended without failing."""

    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    STOPPED = "stopped"  # somebody answered STOP


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    epoch: counted from 1.
    score: the campaign's objective after this epoch, to be maximised; always finite.
    metrics: every scalar of the epoch by name, e.g. `valid/rank_ic_5d`, `train/loss`, `system/samples_per_second`.
    daily: metric name -> its validation values unit by unit (a day, a row, a fold), higher is better, float32 [V],
        NaN where a unit has none; the same units in every trial of a campaign.
    seconds: wall-clock time of the epoch. It and the metrics under `system/` are all that differs between two
        trainings of one seed.
    """

    epoch: int
    score: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    daily: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    seconds: float = 0.0


class Reporter(Protocol):
    """Who listens to a training."""

    def report(self, report: EpochReport) -> Decision:
        """Take one epoch, in order. After a resume it is first called again for every epoch of the checkpoint, so it
        must be idempotent by epoch. It may block until the decision on the epoch before is known. Answered STOP, the
        epoch is not taken. Who wants it taken answers the next `poll` with STOP."""
        ...

    def poll(self) -> Decision:
        """Asked between steps; never blocks."""
        ...

    def decide(self) -> Decision:
        """The decision on the epoch reported last; blocks until it is known."""
        ...


@dataclass(frozen=True)
class FitResult:
    """How a training ended.

    score: what the trial is judged by, to be maximised; the mean of its last `Length.score_epochs` epochs.
    last_epoch: the last epoch that the reporter took; the state in `model.pt` is that at its end. 0: none.
    device: on what it trained and in which arithmetic; trials that differ in it are not comparable bit for bit.
    """

    ending: Ending
    score: float
    last_epoch: int = 0
    num_parameters: int | None = None
    device: str | None = None


class TrialFailure(Exception):
    """A training that cannot go on; the trial is FAILED.

    reason: a stable word that other programs may match. excess: where the configuration was refused because it needs
    too much memory, by which share of the memory there is.
    """

    def __init__(self, reason: str, message: str, excess: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.excess = reason, excess
