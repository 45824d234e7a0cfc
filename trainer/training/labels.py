"""What a model learns: each day's forward returns on one scale, set by the day's whole cross-section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.config import DataConfig
from trainer.data.panel import Panel
from trainer.metrics import average_ranks

TARGET_LIMIT = 3.0
"""Standard deviations at which a day's z-scores are cut off."""
EPSILON = 1e-6
CHUNK_DAYS = 64
"""Days transformed at once, which bounds the memory this takes."""


@dataclass(frozen=True)
class Labels:
    """What is learnt of one target variant of a panel, float32 [D, S, H] each, NaN where there is no label.

    label: the returns after `data.target_transform`. returns: the returns themselves, which a portfolio earns.
    """

    label: NDArray[np.float32]
    returns: NDArray[np.float32]


def make_labels(panel: Panel, config: DataConfig) -> Labels:
    """The labels of all days of the panel."""
    returns = panel.targets[target_variant(config)]
    label = np.full(returns.shape, np.nan, dtype=np.float32)
    for start in range(0, len(returns), CHUNK_DAYS):
        rows = slice(start, start + CHUNK_DAYS)
        target = torch.from_numpy(np.array(returns[rows]))
        valid = torch.isfinite(target) & torch.from_numpy(np.array(panel.mask[rows])).unsqueeze(-1)
        made = TRANSFORMS[config.target_transform](target.masked_fill(~valid, 0.0), valid)
        label[rows] = made.masked_fill(~valid, torch.nan).numpy()
    return Labels(label, returns)


def unlabelled(panel: Panel) -> Labels:
    """Labels for a feed that only scores."""
    return Labels(panel.targets["raw"], panel.targets["raw"])


def target_variant(config: DataConfig) -> str:
    """The panel's key of the target that the loss is computed on."""
    if config.target_lag == 0:
        return config.target
    return "lag1" if config.target == "raw" else "neutral_lag1"


def standardise(target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean 0 and variance 1 per day over the valid stocks, outliers cut off at TARGET_LIMIT. [T, S, H]"""
    return unit(unit(target, valid).clamp(-TARGET_LIMIT, TARGET_LIMIT), valid)


def rank(target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Ranks per day over the valid stocks, spread evenly to mean 0 and variance 1. [T, S, H]"""
    return unit(_rank_share(target, valid), valid)


def gauss(target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Normal scores of the day's ranks (Blom 1958, without his correction), to mean 0 and variance 1. [T, S, H]"""
    return unit(torch.special.ndtri(_rank_share(target, valid)).masked_fill(~valid, 0.0), valid)


TRANSFORMS: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "rank": rank,
    "gauss": gauss,
    "zscore": standardise,
}
"""By their names in `data.target_transform`: (targets, valid), each [T, S, H], invalid entries finite -> labels."""


def unit(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean 0 and variance 1 per day over the valid stocks; all 0 where nothing varies. [T, S, H]"""
    count = valid.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (values - (values * valid).sum(dim=1, keepdim=True) / count) * valid
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return centred * (variance + EPSILON**2).rsqrt()


def _rank_share(target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Ranks as shares within (0, 1) of the day's valid stocks; 0.5 for the others."""
    share = (average_ranks(target, valid) + 0.5) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return share.masked_fill(~valid, 0.5)
