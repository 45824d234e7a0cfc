"""What the search hears of one training, epoch by epoch, and answers; and what it keeps of a finished one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import optuna

from hpo.domain.campaign import Claim, Progress
from hpo.domain.metric import Metric
from hpo.domain.ports import Ledger, TrialEnd
from hpo.domain.trainable import Length
from hpo.domain.training import Decision, EpochReport
from hpo.engine.strategies.schedulers import Scheduler
from hpo.engine.uploads import Uploads
from hpo.runs.entries import EpochRecord


class Conversation:
    """What the search hears of one run, and answers. decision: the scheduler's last one."""

    def __init__(
        self,
        ledger: Ledger,
        claim: Claim,
        trial: optuna.Trial,
        scheduler: Scheduler,
        length: Length,
        lease: timedelta,
        uploads: Uploads,
        stop: Callable[[], bool],
    ) -> None:
        self._ledger, self._claim, self._trial, self._lease = ledger, claim, trial, lease
        self._scheduler, self._uploads, self._stop = scheduler, uploads, stop
        self._num_epochs, self._score_epochs = length.num_epochs, length.score_epochs
        self._scores = dict(trial._get_latest_trial().intermediate_values)
        self.decision = Decision.CONTINUE
        self.end = TrialEnd("stopped")

    def on_epoch(self, report: EpochReport) -> Decision:
        """Record the epoch if it is new, and ask the scheduler about the newest one.

        Epochs that were judged before a resume are passed; the last of them is judged again, because its decision may
        have been lost with the process that asked for it.
        """
        newest = self.last_epoch
        if report.epoch < newest:
            return Decision.CONTINUE
        self._uploads.keep_up(report.epoch, self._stop)
        self._ledger.renew(
            self._claim,
            self._lease,
            Progress(report.epoch, report.score, report.metrics.get("system/samples_per_second")),
        )
        if report.epoch > newest:
            self._trial.report(report.score, report.epoch)
            self._scores[report.epoch] = report.score
        self._uploads.told(report.epoch)
        if report.epoch < self._num_epochs:
            self.decision = self._decide(report.epoch)
        return self.decision

    def _decide(self, epoch: int) -> Decision:
        decision = self._scheduler.decide(self._trial.study, self._trial._get_latest_trial())
        # Its pause there is over.
        is_over = decision is Decision.PAUSE and epoch in self._claim.pauses
        return Decision.CONTINUE if is_over else decision

    @property
    def last_epoch(self) -> int:
        """The newest epoch that was told."""
        return max(self._scores, default=0)

    def trailing_score(self) -> float:
        """Mean of the last `score_epochs` scores: the same measure a finished run is judged by."""
        return trailing_mean(self._scores, self._score_epochs)


def sortable(records: Sequence[EpochRecord], metrics: Sequence[Metric], num_epochs: int) -> dict[str, float]:
    """What trials are sorted by in a dashboard: every metric, the mean over the last num_epochs epochs as the score is,
    and what the training took. {} before the first epoch."""
    if not records:
        return {}
    found = {"num_epochs": len(records), "seconds": round(sum(record.seconds for record in records), 3)}
    last = records[-num_epochs:]
    for name in (metric.scalar for metric in metrics):
        if all(name in record.metrics for record in last):
            found[name] = trailing_mean({record.epoch: record.metrics[name] for record in last}, num_epochs)
    return found


def trailing_mean(scores: Mapping[int, float], num_epochs: int) -> float:
    """Mean of the last num_epochs scores, by epoch."""
    last = [scores[epoch] for epoch in sorted(scores)[-num_epochs:]]
    return sum(last) / len(last)
