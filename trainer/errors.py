"""The trainer's errors, named by what the caller must do about them.

TrainerError
├── InputError          the user's file, value or setting is wrong: show the sentence, exit 2
├── CheckpointError     a checkpoint file is damaged or not a checkpoint: use an older one
├── CacheFault          a prepared panel is damaged or gone, no fault of the run: prepare it again, exit 3
└── TrainingFailure     the run itself cannot go on: the trial is FAILED, with `reason`
    ├── NonFiniteError
    ├── DeviceMemoryError
    ├── DoesNotFitError
    ├── RankLostError
    └── MissingMetricError
"""

from __future__ import annotations

from typing import ClassVar


class TrainerError(Exception):
    """Base of everything the trainer raises on purpose; its text is one sentence for a person."""


class InputError(TrainerError):
    """Bad input: the message says what, where, which rule, and the remedy."""


class CheckpointError(TrainerError):
    """A checkpoint is truncated, altered or of another format; the message names the file."""


class CacheFault(TrainerError):
    """A prepared panel is damaged or was removed; the message names the file. `prepare` builds it again."""


class TrainingFailure(TrainerError):
    """A run that cannot go on. `reason` is a stable word that other programs may match."""

    reason: ClassVar[str] = "training_failure"


class NonFiniteError(TrainingFailure):
    """The loss or a gradient was not finite; raised before the optimizer step."""

    reason = "non_finite"


class DeviceMemoryError(TrainingFailure):
    """The device ran out of memory. The batch is never silently reduced."""

    reason = "out_of_memory"


class DoesNotFitError(TrainingFailure):
    """A configuration needs more memory than there is; known, and refused, before it was started.

    excess: by which share of the memory there is (above 0) it is exceeded.
    """

    reason = "does_not_fit"

    def __init__(self, message: str, excess: float) -> None:
        super().__init__(message)
        self.excess = excess


class RankLostError(TrainingFailure):
    """Of a training over several devices, the process of one died; the others were ended."""

    reason = "rank_lost"


class MissingMetricError(TrainingFailure):
    """A metric the run is judged by could not be computed (no day with enough valid stocks)."""

    reason = "missing_metric"
