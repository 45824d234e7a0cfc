"""The search's nouns: plain, frozen values without behaviour of their own beyond their rules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from hpo.domain.champion import Champion
from hpo.domain.metric import Metric

REFINEMENT = "refinement"
"""Name of the last tier of every campaign: all dimensions jointly around the incumbent."""

DEFAULT_STUDY = "default"
"""Name of the campaign where none is given."""

DEFAULT_TRAINABLE = "ranker"
"""What a campaign trains where nothing else is named."""


class SlotState(StrEnum):
    """OPEN can be claimed; RUNNING is leased to a worker; PAUSED keeps its checkpoint, and can be claimed where nothing
    is open; DONE has its outcome for ever."""

    OPEN = "open"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"


class Outcome(StrEnum):
    """How a slot ended. Same words as Optuna's trial states."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


class CampaignState(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"


@dataclass(frozen=True)
class TierPlan:
    """One tier of a campaign. number counts from 1; num_slots is its share of the budget."""

    number: int
    name: str
    num_slots: int

    def __post_init__(self) -> None:
        if self.number < 1 or self.num_slots < 0:
            raise ValueError(f"tier {self.name}: number {self.number} and slots {self.num_slots} must be positive")

    def study_name(self, campaign: str) -> str:
        """Name of the tier's Optuna study."""
        return f"{campaign}/{self.number}-{self.name}"


@dataclass(frozen=True)
class CampaignSpec:
    """What a campaign is, frozen at its creation.

    config: `search`, the resolved `SearchConfig` as plain JSON; `space`, its name and text; `num_epochs` of a training;
    `metrics`, those of its trainable.
    fingerprints: `config`, `space`, `data`, `code` -> hex digest; a resume with another one is refused.
    tiers: in order, numbered 1..n; the budget is the sum of their slots.
    """

    name: str
    config: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    tiers: tuple[TierPlan, ...]
    seed: int

    @property
    def trainable(self) -> str:
        """Name of what the campaign trains."""
        return str(self.config.get("search", {}).get("trainable", DEFAULT_TRAINABLE))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What its trials are measured by."""
        return tuple(Metric(**plain) for plain in self.config["metrics"])

    @property
    def objective(self) -> Metric:
        """The metric that it maximises."""
        name = self.config["search"]["objective"]
        return next(metric for metric in self.metrics if metric.name == name)

    @property
    def curves(self) -> dict[str, str]:
        """What is drawn beside the objective: name among an epoch's metrics -> label."""
        own = self.objective
        beside = (m for m in self.metrics if m.headline and m.horizon == own.horizon and m != own)
        return {metric.scalar: metric.shown for metric in beside}

    @property
    def budget(self) -> int:
        return sum(tier.num_slots for tier in self.tiers)


@dataclass(frozen=True)
class Campaign:
    """A campaign as the ledger holds it. decisions: tier number -> that tier's decision (see `hpo.engine.tiers`).
    champion: `Champion.as_plain`, read through `crowned`."""

    id: int
    spec: CampaignSpec
    state: CampaignState
    decisions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    champion: Mapping[str, Any] | None = None
    num_holdout_openings: int = 0
    created_at: datetime | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def crowned(self) -> Champion | None:
        """The champion; None until the campaign has ended, and where no trial of it is complete."""
        if self.champion is None or self.champion["slot"] is None:
            return None
        return Champion.from_plain(self.champion)


@dataclass(frozen=True)
class WorkerIdentity:
    """Who works: enough to tell, on the same host, whether it still lives.

    started: the process's creation time in seconds, as `hpo.adapters.processes.host` reads it (pids are reused, pairs
    of pid and creation time are not).
    """

    host: str
    pid: int
    started: float


@dataclass(frozen=True)
class Claim:
    """The right to work on one slot, valid while `fence` is the slot's newest number.

    slot: number within the campaign, from 1. position: number within its tier, from 1.
    trial_number: the slot's Optuna trial, None before it was bound.
    num_crashes: deaths of the trial's own process, seen by its worker, since its last new epoch.
    num_losses: leases that ended with their worker since then (killed, or silent too long): no fault of the trial.
    retried_trial: the slot's newest Optuna trial that failed and was given up for another; None as a rule.
    pauses: epochs after which the trial was paused, in order.
    """

    campaign_id: int
    slot: int
    tier: int
    position: int
    fence: int
    worker_id: int
    trial_number: int | None
    num_crashes: int
    num_losses: int = 0
    retried_trial: int | None = None
    pauses: tuple[int, ...] = ()


@dataclass(frozen=True)
class SlotView:
    """One slot as `status`, `report` and `doctor` see it. Times are the database's clock, timezone-aware. For the
    counts, retried_trial and pauses see `Claim`."""

    slot: int
    tier: int
    position: int
    state: SlotState
    outcome: Outcome | None
    trial_number: int | None
    fence: int
    num_crashes: int
    worker: WorkerIdentity | None
    epoch: int | None
    score: float | None
    samples_per_second: float | None
    reason: str | None
    started_at: datetime | None
    finished_at: datetime | None
    lease_expires_at: datetime | None
    run_folder: str | None = None
    num_losses: int = 0
    retried_trial: int | None = None
    pauses: tuple[int, ...] = ()


@dataclass(frozen=True)
class Progress:
    """What a renewal says of the running trial."""

    epoch: int
    score: float | None = None
    samples_per_second: float | None = None


@dataclass(frozen=True)
class CheckpointRecord:
    """A file of a finished trial that the ledger answers for: by its SHA-256 it is told from any other.

    kind: `model`, the weights that a champion is crowned with; `result`, the attempt's result.json, which lists the
    digests of all its other files; `snapshot`, the same list for an attempt that is not finished, in the store of
    artifacts alone (see `hpo.runs.stored`). epoch: of the checkpoint; of a result the number of epochs. path: relative
    to the state folder, so that this may be moved. host, home: the machine and the state folder it was written in, for
    people.
    """

    slot: int
    kind: str
    epoch: int
    path: str
    host: str
    home: str
    sha256: str
    score: float | None = None


def experiment_name(campaign: str) -> str:
    """What a tracking store calls the campaign's experiment."""
    return f"tiertune/{campaign}"


def run_name(slot: int, tier: str) -> str:
    """What every store calls a slot's run."""
    return f"{slot:04d} {tier}"


def derive_seed(campaign_seed: int, *parts: object) -> int:
    """A seed in [0, 2^31) from the campaign's seed and any parts (tier, slot, purpose); never from time or process."""
    text = "/".join([str(campaign_seed), *(str(part) for part in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
