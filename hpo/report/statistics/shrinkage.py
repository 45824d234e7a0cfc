"""How much of the leaders' validation scores is left on days that played no part in selection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr


@dataclass(frozen=True)
class Shrinkage:
    """Leaders' mean scores on validation and on the holdout; kept: holdout over validation, NaN where validation is
    not above zero. rank_correlation: Spearman's, between the two; NaN below three leaders or without variation."""

    num_leaders: int
    validation: float
    holdout: float
    kept: float
    rank_correlation: float


def shrinkage(validation: Sequence[float], holdout: Sequence[float]) -> Shrinkage | None:
    """Compare the leaders' validation means with their holdout means, in the same order; None without leaders."""
    if not validation:
        return None
    before, after = np.asarray(validation, dtype=np.float64), np.asarray(holdout, dtype=np.float64)
    varying = len(before) > 2 and np.ptp(before) > 0 and np.ptp(after) > 0
    correlation = float(spearmanr(before, after).statistic) if varying else math.nan
    kept = float(after.mean() / before.mean()) if before.mean() > 0 else math.nan
    return Shrinkage(len(before), float(before.mean()), float(after.mean()), kept, correlation)
