"""What stands in a run folder's files: a line of metrics.jsonl, and how the attempt ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hpo.domain.campaign import Outcome
from hpo.runs.durable import encode


@dataclass(frozen=True)
class EpochRecord:
    """One line of metrics.jsonl. time: when the epoch ended, UTC; seconds: how long it took."""

    epoch: int
    time: datetime
    score: float
    seconds: float
    metrics: Mapping[str, float]

    def line(self) -> bytes:
        return encode({**vars(self), "time": self.time.isoformat()}) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> EpochRecord:
        """Raises ValueError, KeyError or TypeError for anything but a whole line."""
        fields = json.loads(line)
        return cls(
            int(fields["epoch"]),
            datetime.fromisoformat(fields["time"]),
            float(fields["score"]),
            float(fields["seconds"]),
            dict(fields["metrics"]),
        )


@dataclass(frozen=True)
class Result:
    """How an attempt ended. score: what Optuna was told; reason: for FAILED, a stable word and text. device: on what
    and in which arithmetic it trained. files: name of every other file of the attempt, relative to it -> SHA-256."""

    outcome: Outcome
    score: float | None
    last_epoch: int | None
    num_parameters: int | None
    reason: str | None
    finished_at: datetime
    device: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Result:
        """Raises ValueError, KeyError or TypeError for anything but a result."""
        times = {"finished_at": datetime.fromisoformat(fields["finished_at"])}
        return cls(**{**fields, "outcome": Outcome(fields["outcome"]), **times})
