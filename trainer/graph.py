"""Who is a stock's neighbour on a day: trailing return correlations and sectors, known by that day, on a schedule."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Graph:
    """Neighbours of every stock on every day of a span.

    neighbours: int64 [T, S, K], positions on the span's stock axis, -1 where a stock has fewer than K.
    weights: float32 [T, S, K], the strength of each edge (correlation, 0 to 1), 0 where there is none.
    """

    neighbours: torch.Tensor
    weights: torch.Tensor

    def last(self, days: int) -> Graph:
        """The graph of the last days of the span."""
        return Graph(self.neighbours[-days:], self.weights[-days:])

    def to(self, device: torch.device) -> Graph:
        return Graph(self.neighbours.to(device), self.weights.to(device))
