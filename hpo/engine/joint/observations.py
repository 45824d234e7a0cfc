"""What the trials of a study say: their curves as means over a few blocks of epochs, on a common robust scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from hpo.engine.joint.coordinates import Array

NUM_BLOCKS = 4
LAST = NUM_BLOCKS - 1

MAX_WINDOW = 10
"""Epochs over which a trial's value may be a mean for its curve to be understood as its early readings."""

REACH, UPPER, REACH_IN_NOISE = 4.0, 0.75, 3.0
"""Scores further below the best than REACH times its distance from the upper quartile (or from REACH_IN_NOISE times the
noise of an epoch, if that is more) are moved up to there: a training that diverged says `bad`, not how bad."""

HUGE = 1e150
"""Scores beyond this count as this."""

FAILED_QUANTILE = 0.25
"""A trial without a usable value counts like the score at this quantile of the others."""

PRIOR_WEIGHT = 3.0
"""The scale of scores is shrunk to NOISE_RATIO times the noise of epochs with the weight of this many trials."""

NOISE_RATIO = 3.0


@dataclass(frozen=True)
class Reading:
    """The mean score of one trial over one block of its epochs. trial: position among the trials that were given."""

    trial: int
    block: int
    length: int
    score: float


@dataclass(frozen=True)
class Observations:
    """Readings as arrays, sorted by trial, with scores as (score - centre of its block) / scale, higher is better.

    trial, block, length, score: [N]. trials: positions, among the trials that were given, of those with a reading.
    """

    trial: NDArray[np.intp]
    block: NDArray[np.intp]
    length: Array
    score: Array
    trials: NDArray[np.intp]
    scale: float
    centre: float

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class Schedule:
    """How an epoch's number becomes a block. window: epochs that a trial's value is the mean of, 0 where curves are
    not used because the value is something else."""

    num_epochs: int
    window: int

    @classmethod
    def of(cls, complete: Sequence[FrozenTrial]) -> Schedule:
        """As the complete trials show it."""
        curves = [(trial.value, _curve(trial)) for trial in complete]
        if not curves or any(not curve for _, curve in curves):
            return cls(0, 0)
        num_epochs = max(max(curve) for _, curve in curves)
        for window in range(1, MAX_WINDOW + 1):
            if all(_is_mean(value, curve, window) for value, curve in curves):
                return cls(num_epochs, window)
        return cls(0, 0)

    def block(self, epoch: int) -> int | None:
        """The last block is the last quarter or the window, whichever is longer; what is before it, less the very
        first epoch, is cut into equal parts."""
        last = max(math.ceil(self.num_epochs / NUM_BLOCKS), self.window)
        before = self.num_epochs - last
        if epoch > before:
            return LAST
        if epoch <= 1:
            return None
        return min(LAST - 1, (epoch - 2) * LAST // max(1, before - 1))


def read(trials: Sequence[FrozenTrial], sign: float, only_last: bool) -> list[Reading]:
    """The readings of all trials, running ones included. sign: -1 where the study minimises. only_last: one reading a
    trial, its latest, to save time.

    A trial that failed, was infeasible or has no finite value is read as if it had scored at FAILED_QUANTILE.
    """
    complete = [t for t in trials if t.state is TrialState.COMPLETE and t.value is not None and _is_usable(t)]
    schedule = Schedule.of([trial for trial in complete if math.isfinite(trial.value or 0.0)])
    found: list[Reading] = []
    unusable: list[int] = []
    for position, trial in enumerate(trials):
        readings = _readings(position, trial, sign, schedule) if _is_usable(trial) else []
        found += readings[-1:] if only_last else readings
        if not readings and trial.state.is_finished():
            unusable.append(position)
    latest = list({reading.trial: reading.score for reading in found}.values())
    if latest:
        poor = float(np.quantile(latest, FAILED_QUANTILE))
        found += [Reading(position, LAST, 1, poor) for position in unusable]
    return sorted(found, key=lambda reading: (reading.trial, reading.block))


def observe(readings: Sequence[Reading], noise: float | None) -> Observations:
    """Readings on a common scale. noise: standard deviation of one epoch, None if unknown."""
    trial = np.array([reading.trial for reading in readings], dtype=np.intp)
    block = np.array([reading.block for reading in readings], dtype=np.intp)
    length = np.array([reading.length for reading in readings], dtype=float)
    raw = np.array([reading.score for reading in readings], dtype=float)
    is_latest = np.append(trial[1:] != trial[:-1], True)
    finals = raw[is_latest & (block == block.max())]
    raw = _winsorised(raw, finals, noise)
    centres = np.zeros(NUM_BLOCKS)
    finishers = trial[block == block.max()]
    for each in np.unique(block):
        same = block == each
        among = same & np.isin(trial, finishers)
        centres[each] = np.median(raw[among if among.any() else same])
    deviations = (raw - centres[block])[is_latest]
    scale = _scale(deviations, noise)
    positions, index = np.unique(trial, return_inverse=True)
    return Observations(
        index, block, length, (raw - centres[block]) / scale, positions, scale, float(centres[block.max()])
    )


def believing(seen: Observations, trials: NDArray[np.intp], scores: Array) -> Observations:
    """With a reading of one epoch in the last block for each of these trials, as if it had come out so."""
    owner = np.concatenate([seen.trials[seen.trial], trials])
    order = np.argsort(owner, kind="stable")
    positions, index = np.unique(owner[order], return_inverse=True)
    return replace(
        seen,
        trial=index,
        block=np.concatenate([seen.block, np.full(len(trials), LAST)])[order],
        length=np.concatenate([seen.length, np.ones(len(trials))])[order],
        score=np.concatenate([seen.score, scores])[order],
        trials=positions,
    )


def epoch_noise(trials: Iterable[FrozenTrial]) -> float | None:
    """Standard deviation of one epoch: the median size of the second differences in the later half of the curves."""
    sizes: list[float] = []
    for trial in trials:
        curve = _curve(trial)
        scores = [curve[epoch] for epoch in sorted(curve)]
        late = np.array(scores[len(scores) // 2 :])
        if len(late) >= 3:
            sizes += list(np.abs(late[2:] - 2 * late[1:-1] + late[:-2]))
    # The second difference of independent values has a variance of six; half of a normal's sizes are below .6745.
    return float(np.median(sizes)) / 0.6745 / math.sqrt(6) if len(sizes) >= 3 else None


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial violates no constraint; one without constraints does not."""
    return all(violation <= 0 for violation in _violations(trial))


def _violations(trial: FrozenTrial) -> Sequence[float]:
    constraints = trial.constraints
    return list(constraints.values()) if isinstance(constraints, Mapping) else list(constraints or ())


def _is_usable(trial: FrozenTrial) -> bool:
    return trial.state is not TrialState.FAIL and is_feasible(trial)


def _readings(position: int, trial: FrozenTrial, sign: float, schedule: Schedule) -> list[Reading]:
    if schedule.window == 0:
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            return [Reading(position, LAST, 1, sign * _finite(trial.value))]
        return []
    blocks: dict[int, list[float]] = {}
    for epoch, score in _curve(trial).items():
        block = schedule.block(epoch)
        if block is not None:
            blocks.setdefault(block, []).append(sign * _finite(score))
    found = [Reading(position, block, len(blocks[block]), _mean(blocks[block])) for block in sorted(blocks)]
    if not found and trial.state is TrialState.COMPLETE and trial.value is not None:
        return [Reading(position, LAST, schedule.window, sign * _finite(trial.value))]
    return found


def _curve(trial: FrozenTrial) -> dict[int, float]:
    return {epoch: score for epoch, score in trial.intermediate_values.items() if math.isfinite(score)}


def _is_mean(value: float | None, curve: Mapping[int, float], window: int) -> bool:
    last = [curve[epoch] for epoch in sorted(curve)[-window:]]
    return value is not None and math.isclose(value, _mean(last), rel_tol=1e-6, abs_tol=1e-12)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _finite(value: float) -> float:
    """Within what can be squared."""
    return min(max(value, -HUGE), HUGE)


def _winsorised(raw: Array, finals: Array, noise: float | None) -> Array:
    best = float(finals.max())
    spread = max(best - float(np.quantile(finals, UPPER)), REACH_IN_NOISE * (noise or 0.0))
    return np.maximum(raw, best - REACH * spread) if spread > 0 else raw


def _scale(deviations: Array, noise: float | None) -> float:
    total, weight = float(np.sum(deviations**2)), float(len(deviations))
    if noise:
        total, weight = total + PRIOR_WEIGHT * (NOISE_RATIO * noise) ** 2, weight + PRIOR_WEIGHT
    scale = math.sqrt(total / weight)
    return scale if scale > 0 and math.isfinite(scale) else 1.0
