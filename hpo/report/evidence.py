"""What a report is made from: plain values, whether they were read from a campaign's files or made up in a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import Outcome
from hpo.domain.champion import Member
from hpo.domain.metric import Metric

DailySeries = Mapping[str, NDArray[np.float32]]
"""Metric name (`rank_ic_5d`, `neutral_rank_ic`, ...) -> one value per day [D], NaN where a day has none."""


@dataclass(frozen=True)
class EpochEvidence:
    """One epoch of one trial. score: the monitored validation metric; seconds: wall clock of the epoch; metrics:
    everything else that the training reported, by name."""

    epoch: int
    score: float
    seconds: float
    finished_at: datetime | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialEvidence:
    """One slot of the budget and the training run in it.

    outcome: None while open or running. params: what the sampler chose in this tier. settings: the value of every
    dimension of the whole space in this run, held ones included, by dotted name. daily: validation series, the mean
    over the epochs that make up the score, all trials on the same days. planned_epochs: what a full run would have
    had. device: on what it trained, and in which arithmetic. folder: where it was read from, relative to the folder of
    all runs; named as the source of its figures.
    """

    slot: int
    tier: int
    outcome: Outcome | None
    trial_number: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    score: float | None = None
    epochs: Sequence[EpochEvidence] = ()
    planned_epochs: int = 0
    daily: DailySeries = field(default_factory=dict)
    last_epoch: int | None = None
    num_parameters: int | None = None
    reason: str | None = None
    num_interruptions: int = 0
    num_pauses: int = 0
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    trainer_seed: int | None = None
    device: str | None = None
    folder: str = ""

    @property
    def seconds(self) -> float:
        """Training time over all epochs."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def seconds_saved(self) -> float:
        """What a pruned trial would have gone on to cost at its own pace; 0 for others."""
        if self.outcome is not Outcome.PRUNED or not self.epochs:
            return 0.0
        return self.seconds / len(self.epochs) * max(self.planned_epochs - len(self.epochs), 0)


@dataclass(frozen=True)
class TierEvidence:
    """One tier: its plan, its Optuna study and what it decided (None while unfinished)."""

    number: int
    name: str
    num_slots: int
    study_name: str
    dimensions: Sequence[str] = ()
    decision: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class HoldoutEvidence:
    """What was measured on the holdout, after everything had been chosen.

    committee: the daily series of what is deployed, where that is more than one trial. contenders: name -> series of
    those that were trained without a search. faults: a sentence for each of them that failed. details: of what is
    deployed, for the trainable's own sections.
    daily: slot -> that trial's model's daily series on dates [D]; the champion, the default, the leaders.
    ceiling: the series of the best possible scores; None where they are not known.
    """

    dates: NDArray[np.datetime64]
    daily: Mapping[int, DailySeries]
    details: Any = None
    ceiling: DailySeries | None = None
    source: str = "holdout"
    committee: DailySeries | None = None
    contenders: Mapping[str, DailySeries] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class CampaignEvidence:
    """Everything a report needs to know of one campaign.

    objective: the metric trials are judged by. metrics: all there are.
    own_sections: the trainable's. champion_slot: None until the campaign has ended. members: of the committee that is
    deployed, by name; empty or one where it is a single trial. doubt: why the best validation score is not to be
    believed, a sentence, empty where it may be. default_slot: the trial that ran the default
    configuration. num_holdout_openings: how often the
    ledger counted the holdout being looked at. environment: versions, for reproduction. log_settings: dimensions that
    are sampled on a logarithmic scale. parents: dimensions on which it depends whether others exist.
    """

    name: str
    objective: Metric
    metrics: Sequence[Metric]
    seed: int
    tiers: Sequence[TierEvidence]
    trials: Sequence[TrialEvidence]
    champion_slot: int | None = None
    default_slot: int | None = None
    members: Mapping[str, Member] = field(default_factory=dict)
    holdout: HoldoutEvidence | None = None
    num_holdout_openings: int = 0
    data_source: str = ""
    data_summary: Mapping[str, Any] = field(default_factory=dict)
    data_lines: tuple[str, ...] = ()
    data_warnings: tuple[str, ...] = ()
    doubt: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    log_settings: frozenset[str] = frozenset()
    parents: Sequence[str] = ()
    own_sections: Callable[[Any, Any], Sequence[Any]] = lambda evidence, findings: ()
    created_at: datetime | None = None

    @property
    def champion(self) -> TrialEvidence | None:
        return self.trial(self.champion_slot)

    @property
    def deployed(self) -> DailySeries | None:
        """The holdout's series of what is deployed: the committee's, or the single champion's."""
        if self.holdout is None:
            return None
        return self.holdout.committee or self.holdout.daily.get(self.champion_slot or 0)

    @property
    def default(self) -> TrialEvidence | None:
        return self.trial(self.default_slot)

    def trial(self, slot: int | None) -> TrialEvidence | None:
        """The trial in a slot, None where there is none."""
        return next((trial for trial in self.trials if trial.slot == slot), None)

    def completed(self) -> list[TrialEvidence]:
        """Trials that ran to their end and have a score, best first; equal scores in order of slots."""
        done = [trial for trial in self.trials if trial.outcome is Outcome.COMPLETE and trial.score is not None]
        return sorted(done, key=lambda trial: (-(trial.score or 0.0), trial.slot))

    def outcomes(self) -> dict[str, int]:
        """How many slots ended how; those not done count as `unfinished`."""
        counts = {"complete": 0, "pruned": 0, "failed": 0, "unfinished": 0}
        for trial in self.trials:
            counts[trial.outcome.value if trial.outcome else "unfinished"] += 1
        return counts
