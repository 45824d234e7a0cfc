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
    the same sector; a stock's neighbours are the `num_neighbours` stocks of the panel with the highest affinity above
    0, whatever stocks a span holds. Stocks with less than half the returns correlate with none and are tied to their
    sector alone.
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
        self._cache: OrderedDict[int, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def refresh_day(self, day: int) -> int:
        """Position of the day whose close the graph of `day` was computed at, at or before `day`."""
        return int(self._refreshes[day])

    def graph_for(self, days: range | Sequence[int], stocks: NDArray[np.int64]) -> Graph:
        """The edges among `stocks` (positions on the panel's stock axis) on `days` (positions on its calendar).

        An edge to a neighbour that is not among them is left out: see `with_neighbours`.
        """
        refreshes, rows = np.unique(self._refreshes[np.asarray(days, dtype=np.int64)], return_inverse=True)
        edges = [self._edges(int(refresh)) for refresh in refreshes]
        chosen = torch.from_numpy(stocks)
        neighbours = torch.stack([neighbours[chosen] for neighbours, _ in edges])
        weights = torch.stack([weights[chosen] for _, weights in edges])
        places = torch.full((self._returns.shape[1] + 1,), -1)  # the last entry serves the index -1
        places[chosen] = torch.arange(len(chosen))
        neighbours = places[neighbours]
        weights = weights.masked_fill(neighbours < 0, 0.0)
        return Graph(neighbours[torch.from_numpy(rows)], weights[torch.from_numpy(rows)])

    def with_neighbours(self, days: range | Sequence[int], stocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """`stocks`, and after them the neighbours that they have on `days` beside themselves."""
        chosen = torch.from_numpy(stocks)
        refreshes = np.unique(self._refreshes[np.asarray(days, dtype=np.int64)])
        found = torch.cat([self._edges(int(refresh))[0][chosen].flatten() for refresh in refreshes])
        others = np.setdiff1d(found[found >= 0].numpy(), stocks)
        return np.concatenate([stocks, others])

    def _edges(self, refresh: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Neighbours and weights of all stocks, each [S, K], at the close of one day. The newest are kept."""
        if refresh not in self._cache:
            self._cache[refresh] = self._strongest(self._affinity(refresh))
        self._cache.move_to_end(refresh)
        while len(self._cache) > CACHED_GRAPHS:
            self._cache.popitem(last=False)
        return self._cache[refresh]

    def _affinity(self, refresh: int) -> torch.Tensor:
        """[S, S], -inf on the diagonal."""
        trailing = torch.from_numpy(np.array(self._returns[max(0, refresh + 1 - LOOKBACK) : refresh + 1]))
        trailing = trailing - trailing.nanmean(dim=1, keepdim=True)
        present = torch.isfinite(trailing)
        count = present.sum(dim=0)
        mean = trailing.nansum(dim=0) / count.clamp(min=1)
        centred = torch.where(present & (count >= LOOKBACK // 2), trailing - mean, 0.0)
        deviation = (centred.square().sum(dim=0) / count.clamp(min=1)).sqrt().clamp(min=1e-8)
        standard = (centred / deviation).clamp(-OUTLIER_LIMIT, OUTLIER_LIMIT)
        standard = standard / standard.norm(dim=0).clamp(min=1e-8)
        sector = torch.from_numpy(self._sectors[refresh].astype(np.int64))
        together = (sector.unsqueeze(0) == sector.unsqueeze(1)) & (sector >= 0)
        affinity: torch.Tensor = standard.T @ standard + SECTOR_BONUS * together
        return affinity.fill_diagonal_(-torch.inf)

    def _strongest(self, affinity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        missing = max(0, self._num_neighbours - len(affinity))
        affinity = torch.nn.functional.pad(affinity, (0, missing), value=-torch.inf)
        weights, neighbours = affinity.topk(self._num_neighbours, dim=1)
        edge = weights > 0
        return neighbours.masked_fill(~edge, -1), weights.masked_fill(~edge, 0.0)
