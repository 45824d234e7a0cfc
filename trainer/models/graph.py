"""Who is a stock's neighbour on a day: trailing return correlations and sectors, known by that day, on a schedule."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

REFRESH_DAYS = 28
"""Calendar days between two refreshes. They are counted from a fixed date, so that a panel that starts elsewhere has
the same refreshes."""
LOOKBACK = 60
"""Trading days of returns behind a correlation, the refresh day included."""
SECTOR_BONUS = 0.25
"""What a shared sector adds to a correlation."""
OUTLIER_LIMIT = 4.0
"""Standard deviations at which returns are cut off."""
CACHED_GRAPHS = 128


@dataclass(frozen=True)
class Graph:
    """Neighbours of every stock on every day of a span.

    neighbours: int64 [T, S, K], positions on the span's stock axis, -1 where a stock has fewer than K.
    weights: float32 [T, S, K], the affinity of each edge (0 to 1.25), 0 where there is none.
    """

    neighbours: torch.Tensor
    weights: torch.Tensor

    def last(self, days: int) -> Graph:
        """The graph of the last days of the span."""
        return Graph(self.neighbours[-days:], self.weights[-days:])

    def to(self, device: torch.device) -> Graph:
        return Graph(self.neighbours.to(device), self.weights.to(device))


class GraphSchedule:
    """The graphs of a panel, recomputed every REFRESH_DAYS from the LOOKBACK trading days before.

    The affinity of two stocks is the correlation of their returns in excess of the day's mean, plus SECTOR_BONUS in
    the same sector; a stock's neighbours are the `num_neighbours` stocks of the span with the highest affinity above
    0. Stocks with less than half the returns correlate with none and are tied to their sector alone.
    """

    def __init__(
        self,
        dates: NDArray[np.datetime64],
        returns: NDArray[np.float32],
        sectors: NDArray[np.int16],
        num_neighbours: int,
    ) -> None:
        """dates: [D], ascending; returns: [D, S] into the day, NaN where there is none; sectors: [D, S], -1
        unknown."""
        self._returns, self._sectors, self._num_neighbours = returns, sectors, num_neighbours
        periods = dates.astype("datetime64[D]").astype(np.int64) // REFRESH_DAYS
        starts = np.flatnonzero(np.diff(periods, prepend=periods[:1] - 1))
        self._refreshes = np.repeat(starts, np.diff(starts, append=len(dates)))
        self._cache: OrderedDict[tuple[int, bytes], tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def refresh_day(self, day: int) -> int:
        """Position of the day whose close the graph of `day` was computed at, at or before `day`."""
        return int(self._refreshes[day])

    def graph_for(self, days: range | Sequence[int], stocks: NDArray[np.int64]) -> Graph:
        """The graph among `stocks` (positions on the panel's stock axis) on `days` (positions on its calendar)."""
        refreshes, place = np.unique(self._refreshes[np.asarray(days, dtype=np.int64)], return_inverse=True)
        edges = [self._edges(int(refresh), stocks) for refresh in refreshes]
        neighbours = torch.stack([neighbours for neighbours, _ in edges])
        weights = torch.stack([weights for _, weights in edges])
        rows = torch.from_numpy(place)
        return Graph(neighbours[rows], weights[rows])

    def _edges(self, refresh: int, stocks: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Neighbours and weights, each [S, K], computed at the close of one day. The newest are kept."""
        key = refresh, stocks.tobytes()
        if key not in self._cache:
            self._cache[key] = self._strongest(self._affinity(refresh, stocks))
        self._cache.move_to_end(key)
        while len(self._cache) > CACHED_GRAPHS:
            self._cache.popitem(last=False)
        return self._cache[key]

    def _affinity(self, refresh: int, stocks: NDArray[np.int64]) -> torch.Tensor:
        """[S, S], -inf on the diagonal."""
        trailing = torch.from_numpy(np.array(self._returns[max(0, refresh + 1 - LOOKBACK) : refresh + 1]))
        trailing = (trailing - trailing.nanmean(dim=1, keepdim=True))[:, torch.from_numpy(stocks)]
        present = torch.isfinite(trailing)
        count = present.sum(dim=0)
        mean = trailing.nansum(dim=0) / count.clamp(min=1)
        centred = torch.where(present & (count >= LOOKBACK // 2), trailing - mean, 0.0)
        deviation = (centred.square().sum(dim=0) / count.clamp(min=1)).sqrt().clamp(min=1e-8)
        standard = (centred / deviation).clamp(-OUTLIER_LIMIT, OUTLIER_LIMIT)
        standard = standard / standard.norm(dim=0).clamp(min=1e-8)
        sector = torch.from_numpy(self._sectors[refresh, stocks].astype(np.int64))
        together = (sector.unsqueeze(0) == sector.unsqueeze(1)) & (sector >= 0)
        affinity: torch.Tensor = standard.T @ standard + SECTOR_BONUS * together
        return affinity.fill_diagonal_(-torch.inf)

    def _strongest(self, affinity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        missing = max(0, self._num_neighbours - len(affinity))
        affinity = torch.nn.functional.pad(affinity, (0, missing), value=-torch.inf)
        weights, neighbours = affinity.topk(self._num_neighbours, dim=1)
        edge = weights > 0
        return neighbours.masked_fill(~edge, -1), weights.masked_fill(~edge, 0.0)
