"""What the data room hands out: the panel, its folds, and the two halves that are kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TARGETS: tuple[str, ...] = ("raw", "neutral", "lag1", "neutral_lag1")
"""Variants of the forward return: as it is, or style-neutral; entered at the day's close, or at the next close."""


@dataclass(frozen=True)
class Panel:
    """D days x S stocks on one trading calendar; arrays are read-only memory maps or plain arrays.

    dates: datetime64[D] [D], ascending. symbols: [S], ascending.
    features: float32 [D, S, F], per day ranked over the usable stocks to mean 0 and variance 1 (uniform); 0 where
        masked or missing.
    mask: bool [D, S], whether the stock-day is usable as input.
    targets: float32 [D, S, H] for each name in TARGETS, simple returns, NaN where no label is fully observed.
    horizons: [H], trading days, ascending.
    sectors: int16 [D, S], position in sector_names as of the day, -1 where unknown.
    returns: float32 [D, S], simple return from the close before into the day's close, NaN where one is missing.
    oracle: float32 [D, S, H], planted market only: the expectation of the raw target given all that happened by
        the day's close.
    """

    dates: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    features: NDArray[np.float32]
    mask: NDArray[np.bool_]
    targets: Mapping[str, NDArray[np.float32]]
    horizons: tuple[int, ...]
    sectors: NDArray[np.int16]
    sector_names: tuple[str, ...]
    returns: NDArray[np.float32]
    oracle: NDArray[np.float32] | None


@dataclass(frozen=True)
class Fold:
    """Positions of the scored days of one fold; look-back context may reach before `train.start`."""

    train: range
    valid: range


@dataclass(frozen=True)
class TrainingData:
    """What a trial is given: a panel that ends before the holdout."""

    panel: Panel
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class HoldoutData:
    """The last window. `days` are the scored positions; the panel's days before them are look-back context."""

    panel: Panel
    days: range
