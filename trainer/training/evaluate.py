"""Scores of whole cross-sections, computed in chunks of days that no score depends on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.data.panel import Panel
from trainer.metrics import daily_series
from trainer.training.batches import day_chunks
from trainer.training.feed import Feed
from trainer.training.labels import CHUNK_DAYS
from trainer.training.precision import MASTER, Precision

# Stock-days of input per forward pass without gradients. Below the look-back times the number of stocks, context is
# half of what is computed.
CHUNK_STOCK_DAYS = {"cpu": 16_384, "cuda": 262_144}


def chunk_budget(device: torch.device) -> int:
    """Stock-days that are scored at once on `device`."""
    return CHUNK_STOCK_DAYS["cuda" if device.type == "cuda" else "cpu"]


@torch.no_grad()
def score_days(
    model: nn.Module, feed: Feed, days: range, window: int, precision: Precision, budget: int | None = None
) -> Tensor:
    """Scores of all stocks on `days`: float32 [len(days), S, H] on the device, NaN where a stock is masked.

    Chunks carry their window - 1 days of context, so `budget` (stock-days per chunk; None: what suits the device)
    changes only speed and memory.
    """
    model.eval()
    chunks = []
    for span in day_chunks(days, window, feed.num_stocks, budget or chunk_budget(precision.device)):
        batch = feed.batch(span)
        with precision.autocast():
            scores = model(*batch.inputs)
        visible = batch.mask[span.context :].unsqueeze(-1)
        chunks.append(scores[span.context :].to(MASTER).masked_fill(~visible, torch.nan))
    return torch.cat(chunks)


def daily_metrics(
    scores: Tensor | NDArray[np.float32], panel: Panel, days: range, own: str | None = None
) -> dict[str, NDArray[np.float32]]:
    """Daily RankIC of scores [len(days), S, H] against every target variant and horizon, each float32 [len(days)], and
    the same of a metric of the user's. own: its import path."""
    device = scores.device if isinstance(scores, Tensor) else torch.device("cpu")
    parts = []
    for start in range(0, len(days), CHUNK_DAYS):
        rows = slice(days.start + start, min(days.start + start + CHUNK_DAYS, days.stop))
        targets = {name: torch.from_numpy(np.array(values[rows])).to(device) for name, values in panel.targets.items()}
        parts.append(daily_series(scores[start : start + CHUNK_DAYS], targets, panel.horizons, own=own))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
