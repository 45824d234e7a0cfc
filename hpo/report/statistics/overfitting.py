"""Probability that choosing the best trial was overfitting: combinatorially symmetric cross-validation (CSCV)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

FEWEST_TRIALS = 4
"""Below this many trials a rank among them says nothing."""

MOST_BLOCKS = 16
"""Bailey et al. use 16: 12,870 ways to halve the days."""


@dataclass(frozen=True)
class Overfitting:
    """What CSCV found.

    probability: share of the halvings in which the trial that was best on one half was in the lower half on the other
    (PBO). logits: [C], log-odds of its relative rank there. slope: of the winner's score on the other half against its
    score on the half that chose it. loss_probability: share of halvings where the winner's other half is below zero.
    num_days: days used; num_blocks: S.
    """

    probability: float
    logits: NDArray[np.float64]
    slope: float
    loss_probability: float
    num_trials: int
    num_days: int
    num_blocks: int


def backtest_overfitting(series: NDArray[np.floating], horizon: int = 1) -> Overfitting | None:
    """CSCV of Bailey, Borwein, Lopez de Prado & Zhu (2015), algorithm 2.3, with the mean daily score as performance.

    series: [D, N], one column per trial, the same days; days on which any is NaN are left out. The days are cut into S
    contiguous blocks, S = 16 or the largest even number that keeps a block at least one and a half horizons long. The
    first horizon - 1 days of each block, whose labels reach into the block before, are dropped: the two halves would
    otherwise share information, and overfitting look rarer than it is. None with fewer than 4 trials or too few days
    for 4 blocks.
    """
    values = np.asarray(series, dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    num_days, num_trials = values.shape
    num_blocks = min(MOST_BLOCKS, num_days // max((3 * horizon + 1) // 2, 5) // 2 * 2)
    if num_trials < FEWEST_TRIALS or num_blocks < 4:
        return None
    used = values[num_days % num_blocks :].reshape(num_blocks, -1, num_trials)[:, horizon - 1 :]
    blocks = used.mean(axis=1)
    halves = _halves(num_blocks)
    inside = halves @ blocks / (num_blocks / 2)
    outside = 2 * blocks.mean(axis=0) - inside
    ways = np.arange(len(halves))
    winner = inside.argmax(axis=1)
    won_inside, won_outside = inside[ways, winner], outside[ways, winner]
    below = (outside < won_outside[:, None]).sum(axis=1)
    ties = (outside == won_outside[:, None]).sum(axis=1)
    relative_rank = (below + (ties + 1) / 2) / (num_trials + 1)
    logits = np.log(relative_rank / (1 - relative_rank))
    spread = won_inside.var()
    slope = float(np.cov(won_inside, won_outside, bias=True)[0, 1] / spread) if spread > 0 else 0.0
    return Overfitting(
        probability=float((logits <= 0).mean()),
        logits=logits,
        slope=slope,
        loss_probability=float((won_outside < 0).mean()),
        num_trials=num_trials,
        num_days=used.shape[0] * used.shape[1],
        num_blocks=num_blocks,
    )


def _halves(num_blocks: int) -> NDArray[np.float64]:
    """All ways to take half of the blocks: [C, S] of 0 and 1."""
    chosen = np.array(list(combinations(range(num_blocks), num_blocks // 2)))
    halves = np.zeros((len(chosen), num_blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    return halves
