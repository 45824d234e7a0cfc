"""Operations over the stocks of one day, for all days at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainer.data.market import Wide

UNIT_UNIFORM = np.sqrt(3.0)


def rank_normalise(values: Wide, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Ranks of each day's valid finite values, spread evenly over (-sqrt 3, sqrt 3): mean 0, variance about 1.

    values, valid: [D, S]. Ties share their mean rank, so that a day without variation is all 0; so is what is not
    valid or not finite.
    """
    known = valid & np.isfinite(values)
    ordered = np.where(known, values, np.inf)
    order = np.argsort(ordered, axis=1)  # not stable, because ties are averaged
    ordered = np.take_along_axis(ordered, order, axis=1)
    count = known.sum(axis=1, keepdims=True)
    mean_rank = np.empty(values.shape, dtype=np.float32)
    np.put_along_axis(mean_rank, order, _tied_ranks(ordered), axis=1)
    scaled = (2 * (mean_rank + 0.5) / np.maximum(count, 1) - 1) * UNIT_UNIFORM
    return np.where(known, scaled, 0.0).astype(np.float32)


@dataclass(frozen=True)
class Groups:
    """Which stocks belong together on a day: those of a sector with at least `smallest` members that day; the smaller
    sectors and the stocks without one form a group of their own, number 0.

    sectors: int16 [D, S], -1 where unknown. members: bool [D, S], who counts. Whoever is listed later changes nothing.
    """

    sectors: NDArray[np.int16]
    members: NDArray[np.bool_]
    smallest: int

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        """Each stock's sector from 1 on, 0 without one: [D, S]."""
        return self.sectors.astype(np.int64) + 1

    @cached_property
    def _pooled(self) -> NDArray[np.bool_]:
        """Whether a sector is part of group 0: [D, G]."""
        pooled = self._sums(self.members) < self.smallest
        pooled[:, 0] = True
        return pooled

    def total(self, values: Wide | NDArray[np.float32] | NDArray[np.bool_]) -> Wide:
        """Each stock's group's sum of values over all stocks: [D, S]."""
        sums = self._sums(values)
        rest = np.where(self._pooled, sums, 0.0).sum(axis=1, keepdims=True)
        return np.take_along_axis(np.where(self._pooled, rest, sums), self._numbers, axis=1)

    def _sums(self, values: Wide | NDArray[np.float32] | NDArray[np.bool_]) -> Wide:
        """Of every sector of every day: [D, G]."""
        days, num_sectors = len(self._numbers), int(self._numbers.max(initial=0)) + 1
        place = self._numbers + num_sectors * np.arange(days)[:, None]
        sums: Wide = np.bincount(place.ravel(), weights=values.ravel(), minlength=days * num_sectors).astype(np.float64)
        return sums.reshape(days, num_sectors)

    def mean(self, values: Wide | NDArray[np.float32], valid: NDArray[np.bool_]) -> Wide:
        """Each stock's group's mean over the valid stocks of the day: [D, S]; 0 where a group has none."""
        return self.total(np.where(valid, values, 0.0)) / np.maximum(self.total(valid), 1)


def _tied_ranks(ordered: Wide) -> NDArray[np.float32]:
    """Mean rank from 0 of every entry of rows in ascending order."""
    positions = np.arange(ordered.shape[1], dtype=np.int32)
    changes = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(ordered), 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, changes]), positions, 0), axis=1)
    ends = np.where(np.hstack([changes, edge]), positions, positions.size)
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    ranks: NDArray[np.float32] = ((first + last) / 2).astype(np.float32)
    return ranks
