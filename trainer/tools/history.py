"""What the curves of a finished training say: over- and underfitting, plateaus, growing gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_EPOCHS = 4
"""Fewer epochs are no curve."""
NOISE = 2.0
"""Standard errors by which a change must stand out from a curve's own jumps between epochs."""
PEAK = 3.0
"""The same for a fall from the highest of several means, which luck alone makes high."""
GAP = 3.0
"""Times a rank correlation on the training days may exceed that on the validation days."""
WORTH = 0.02
"""Rank correlation on the training days from which on the gap counts."""
WORTHWHILE = 0.05
"""Share of the score that it must rise over the last two thirds to be called improving."""
GROWTH = 5.0
"""Times a gradient's norm may grow from the first third to the last."""

Epochs = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class History:
    """Curves [E] of a training, NaN where an epoch lacks a value.

    score: the monitored validation metric. train_loss, valid_loss. train_rank, valid_rank: one less the ranking term of
    the loss, the differentiable rank correlation on the training days (with dropout, while the epoch goes on) and on
    the validation days. gradient: norm before clipping, mean of the epoch's steps.
    """

    score: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    valid_loss: NDArray[np.float64]
    train_rank: NDArray[np.float64]
    valid_rank: NDArray[np.float64]
    gradient: NDArray[np.float64]

    @classmethod
    def of(cls, scores: Sequence[float], epochs: Epochs) -> History:
        """scores: by epoch. epochs: the metrics of each, as `EpochReport.metrics`."""

        def curve(name: str) -> NDArray[np.float64]:
            return np.array([epoch.get(name, np.nan) for epoch in epochs], dtype=np.float64)

        return cls(
            np.array(scores, dtype=np.float64),
            curve("train/loss"),
            curve("valid/loss"),
            1 - curve("train/loss_rank_ic"),
            1 - curve("valid/loss_rank_ic"),
            curve("train/grad_norm"),
        )

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences to act on; one that says so where there is nothing."""
        if len(self.score) < MIN_EPOCHS:
            return (f"{_epochs(len(self.score))}: a curve is judged from {MIN_EPOCHS} on.",)
        said = (self._overfitting(), self._gap(), self._length(), self._gradients(), self._nothing())
        return tuple(filter(None, said)) or ("Validation follows training, and the curves have settled.",)

    def _overfitting(self) -> str | None:
        smooth = np.convolve(self.score, np.ones(3) / 3, mode="valid")  # smooth[i]: mean of epochs i + 1 to i + 3
        best = int(np.argmax(smooth))
        fall = float(smooth[best] - smooth[-1])
        if fall <= PEAK * _error(self.score, 3) * np.sqrt(2) or not _rises(self._learnt):
            return None
        return (
            f"Overfits: the validation score fell from {smooth[best]:+.4f} (epochs {best + 1} to {best + 3}) to "
            f"{smooth[-1]:+.4f} while the fit to the training days went on improving: fewer train.epochs, or more "
            "model.dropout or optim.weight_decay."
        )

    def _gap(self) -> str | None:
        train, valid = float(np.mean(self.train_rank[-3:])), float(np.mean(self.valid_rank[-3:]))
        if not (train > WORTH and train > GAP * max(valid, 0.0)):
            return None
        return (
            f"Rank correlation of {train:.3f} on the training days and {valid:.3f} on the validation days: most of "
            "what was learnt holds for the training days alone. More model.dropout or optim.weight_decay, or a smaller "
            "model.hidden_size."
        )

    def _length(self) -> str | None:
        """Underfitting and plateaus: whether the end of the training was of use."""
        end = len(self.score) // 3
        late = self.score[end:]
        if _rises(late) and _rise(late) > WORTHWHILE * abs(float(late.mean())):
            return (
                "Underfits: the validation score was still improving at the end: more train.epochs, or a higher "
                "optim.lr."
            )
        if not _rises(self._learnt[end:]) and not _rises(late):
            return (
                f"Plateau: nothing improved after epoch {end + len(late) // 2}, on the training days or on validation: "
                "fewer train.epochs would have done."
            )
        return None

    @property
    def _learnt(self) -> NDArray[np.float64]:
        """The fit to the training days, higher is better: by ranks where the loss has such a term, for its other terms
        jump with the days that an epoch drew."""
        return self.train_rank if _known(self.train_rank) else -self.train_loss

    def _gradients(self) -> str | None:
        third = max(len(self.gradient) // 3, 1)
        if not _known(self.gradient):
            return None
        growth = float(self.gradient[-third:].mean()) / max(float(self.gradient[:third].mean()), 1e-12)
        if growth <= GROWTH:
            return None
        return f"The gradient's norm grew to {growth:.1f} times that of the first epochs: lower optim.lr."

    def _nothing(self) -> str | None:
        half = self.score[len(self.score) // 2 :]
        if half.mean() > NOISE * _error(self.score, len(half)):
            return None
        return "The validation score of the second half cannot be told from zero or is below it: nothing was learnt."


def _error(curve: NDArray[np.float64], count: int) -> float:
    """Standard error of a mean of `count` epochs by the curve's own jumps, of which a trend is no part."""
    return float(np.std(np.diff(curve)) / np.sqrt(2 * count))


def _rise(curve: NDArray[np.float64]) -> float:
    """Mean of the second half less that of the first."""
    half = len(curve) // 2
    return float(curve[half:].mean() - curve[:half].mean())


def _rises(curve: NDArray[np.float64]) -> bool:
    """Whether the second half is higher than the first by more than noise; False for a curve with gaps."""
    half = len(curve) // 2
    return _rise(curve) > NOISE * math.hypot(_error(curve, half), _error(curve, len(curve) - half))


def _known(curve: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(curve).all())


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"
