"""The object that a user's own training loop holds: report, ask whether to stop, save, go on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.domain.metric import Metric
from hpo.domain.trainable import Length
from hpo.domain.training import Decision, Ending, EpochReport, FitResult, Reporter, TrialFailure
from hpo.runs.folder import Attempt, SlotFolder
from hpo.trainable import states


class TrialStopped(BaseException):
    """Ends a loop that reported on without asking `should_stop`; no error, so that `except Exception` passes it."""


class Trial:
    """One training, on the search and off it.

    At the beginning: `load`, which gives back the state that was saved last, or None. Then a loop over `epochs`, which
    ends where the search ends the training, with `report` in it. A loop of another form calls `report`, `should_stop`
    and `save` after every epoch. A training that is killed begins again at the top of the function and goes on from
    there.

    seed: of this training; every random generator should be made from it. data: the search part of the prepared
    data, None where there are none. folder: a place for files of the training's own.
    """

    def __init__(
        self,
        reporter: Reporter,
        folder: Path,
        metric: Metric,
        length: Length,
        *,
        seed: int = 0,
        data: Any = None,
        recorded: Mapping[int, EpochReport] | None = None,
    ) -> None:
        self.seed, self.data, self.folder = seed, data, folder
        self._reporter, self._metric, self._length = reporter, metric, length
        self._recorded = recorded or {}
        self._reports: list[EpochReport] = []
        self._saved: states.Saved | None = None
        self._num_parameters: int | None = None
        self._device: str | None = None
        self._since = time.perf_counter()

    @property
    def epoch(self) -> int:
        """The epoch that was reported last; 0: none yet."""
        return len(self._reports)

    @property
    def epochs(self) -> Iterator[int]:
        """The epochs that are left, the next one first, until the search ends the training."""
        for epoch in range(self.epoch + 1, self._length.num_epochs + 1):
            if self.epoch and self.should_stop():
                return
            yield epoch

    def load(self) -> Any:
        """The state that was saved last, None at the first beginning. Call it before the first `report`."""
        if self._reports:
            raise TrialFailure("misuse", "trial.load() belongs before the first trial.report(...)")
        saved = states.load_newest(self.folder)
        if saved is None:
            return None
        self._saved = saved
        for report in saved.reports:
            self._hand_over(report)
        self._since = time.perf_counter()
        return saved.state

    def report(
        self,
        epoch: int,
        score: float,
        *,
        series: ArrayLike | None = None,
        metrics: Mapping[str, float] | None = None,
        state: Any = None,
    ) -> None:
        """Say what an epoch (1, 2, ...) has come to, and keep the state after it.

        score: of the metric, as the metric's direction has it. series: the metric unit by unit (a row, a day), of which
        the score is the mean; it lets the report give intervals. metrics: anything else worth a curve. state: what
        `save` is given; None: `save` is called apart.

        Raises:
            TrialFailure: the score is no finite number, or an epoch was left out or said twice.
        """
        if epoch != self.epoch + 1:
            raise TrialFailure("misuse", f"trial.report({epoch}, ...) follows epoch {self.epoch}; count 1, 2, 3, ...")
        if not math.isfinite(score):
            raise TrialFailure("non_finite", f"the score of epoch {epoch} is {score}")
        # What was reported before this training was killed stays as it was reported: it has been judged by.
        told = self._recorded.get(epoch)
        self._hand_over(told if told is not None else self._made(epoch, float(score), series, metrics or {}))
        if state is not None:
            self.save(state)

    def should_stop(self) -> bool:
        """Whether the search ends the training here; return from the function then. Waits for the decision."""
        return Decision.STOP in (self._reporter.decide(), self._reporter.poll())

    def is_interrupted(self) -> bool:
        """Whether the search ends the training amid an epoch; return from the function then. Asked between the steps
        of an epoch that takes long; never waits."""
        return self._reporter.poll() is Decision.STOP

    def describe(self, *, num_parameters: int | None = None, device: str | None = None) -> None:
        """Say what is trained, for the report and for constraints of the space, and on what, in which arithmetic."""
        self._num_parameters, self._device = num_parameters, device

    def save(self, state: Any) -> None:
        """Keep the state after the epoch that was reported last: anything that can be pickled. The last one saved is
        what the trial is scored and deployed with."""
        if not self._reports:
            raise TrialFailure("misuse", "trial.save(...) belongs after trial.report(...) of the same epoch")
        self._saved = states.Saved(self.epoch, state, tuple(self._reports))
        states.save_last(self.folder, self._saved)

    def conclude(self) -> FitResult:
        """How the training ended, once the function has returned. Raises TrialFailure where it said or kept nothing."""
        stopped = self.epoch < self._length.num_epochs and self.should_stop()
        if not stopped and not self._reports:
            raise TrialFailure("missing_metric", "the training ended without trial.report(epoch, score)")
        if not stopped and self._saved is None:
            raise TrialFailure("no_checkpoint", "the training ended without trial.save(state), so nothing can be used")
        if self._saved is not None:
            states.save(self.folder / states.MODEL, states.Saved(self._saved.epoch, self._saved.state))
        last = [report.score for report in self._reports[-self._length.score_epochs :]]
        ending = Ending.COMPLETED if self.epoch >= self._length.num_epochs else Ending.EARLY_STOPPED
        return FitResult(
            Ending.STOPPED if stopped else ending,
            sum(last) / len(last) if last else math.nan,
            self._saved.epoch if self._saved else 0,
            self._num_parameters,
            self._device,
        )

    def _made(self, epoch: int, score: float, series: ArrayLike | None, metrics: Mapping[str, float]) -> EpochReport:
        name, sign = self._metric.name, 1.0 if self._metric.direction == "maximize" else -1.0
        scalars = {self._metric.scalar: score, **{key: float(value) for key, value in metrics.items()}}
        daily: dict[str, NDArray[np.float32]] = {}
        if series is not None:
            daily[name] = sign * np.asarray(series, dtype=np.float32).reshape(-1)
        return EpochReport(epoch, sign * score, scalars, daily, time.perf_counter() - self._since)

    def _hand_over(self, report: EpochReport) -> None:
        if self._reporter.report(report) is Decision.STOP:
            raise TrialStopped
        self._reports.append(report)
        self._since = time.perf_counter()


def recorded_before(folder: Path) -> dict[int, EpochReport]:
    """Epochs that earlier attempts at the same trial reported, the newest attempt's word first."""
    found: dict[int, EpochReport] = {}
    number = folder.parent.name.removeprefix("slot-")
    if not number.isdigit():
        return found  # a training by itself
    own = Attempt(folder).fence
    for attempt in reversed(SlotFolder(folder.parent.parent, int(number)).attempts()):
        if attempt.fence < own:
            for record in attempt.epochs():
                report = EpochReport(
                    record.epoch, record.score, record.metrics, attempt.daily(record.epoch), record.seconds
                )
                found.setdefault(record.epoch, report)
    return found
