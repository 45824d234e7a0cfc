"""Daily ranks as shares: the scale on which scores of different models can be averaged."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.metrics import average_ranks


def rank_shares(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Ranks of each day's scores among the scored stocks, from 0 (lowest) to 1; ties share their mean rank.

    scores: [D, S, H]; NaN and infinity stay unranked, NaN.
    """
    values = torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float32))
    return share_of(values).numpy()


def share_of(values: torch.Tensor) -> torch.Tensor:
    """The same for a tensor [D, S, H] on any device."""
    valid = values.isfinite()
    shares = average_ranks(values, valid) / (valid.sum(1, keepdim=True) - 1).clamp(min=1)
    return shares.where(valid, torch.nan)
