"""The contract of every model: a causal ranker with an exact look-back over a span of days."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from trainer.graph import Graph


class Ranker(nn.Module, ABC):
    """Scores stocks, permutation-equivariant over stocks, causal over days, looking back exactly `window` days.

    A span of T days gives the scores of T - window + 1 days in one pass, each equal to what its own window of days
    alone would give. What is in masked stock-days has no influence, NaN included.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None = None) -> torch.Tensor:
        """x: [T, S, F], mask: bool [T, S] -> float32 scores [T, S, H], 0 on the first window - 1 days.

        Scores of masked stock-days are finite and mean nothing. Raises ValueError when T < window.
        """
        days = x.shape[0]
        if days < self.window:
            raise ValueError(f"a span of {days} days is shorter than the model's window of {self.window}")
        scores = self.score(x.masked_fill(~mask.unsqueeze(-1), 0.0), mask, graph)
        return functional.pad(scores.float(), (0, 0, 0, 0, days - scores.shape[0], 0))

    @abstractmethod
    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        """Scores [T - window + 1, S, H] of the last days of the span; masked features are 0."""
