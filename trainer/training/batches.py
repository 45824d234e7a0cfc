"""Which days and stocks one forward pass sees: spans of days for a group of stocks, a sample at most once an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trainer.config import TrainConfig

# A first or last span of an epoch may be longer than the nominal one by this share (the cuts are shifted at random).
CUT_JITTER = 0.4


@dataclass(frozen=True)
class Span:
    """One forward pass: the scored days `days` of the stocks `stocks`, after `context` days that are only looked at.

    stocks: int64 [G], ascending positions on the panel's stock axis. Context days before the panel's start do not
    exist; they are fed as masked. whole: where `days` are the share of one of several processes, those of all.
    """

    days: range
    stocks: NDArray[np.int64]
    context: int
    whole: range | None = None


@dataclass(frozen=True)
class SpanPlan:
    """The fixed part of every epoch's batches: sizes and counts.

    days: the scored days of training. stocks: int64 [G_all], positions of stocks with at least one sample.
    groups: groups the stocks are divided into. drawn: groups of them that an epoch sees. cuts: spans per group. parts:
    spans per optimizer step.
    """

    days: range
    stocks: NDArray[np.int64]
    groups: int
    drawn: int
    cuts: int
    parts: int
    window: int

    @property
    def steps(self) -> int:
        """Optimizer steps per epoch."""
        return math.ceil(self.drawn * self.cuts / self.parts)

    @property
    def largest(self) -> tuple[int, int]:
        """(days with context, stocks) of the largest span an epoch can contain."""
        nominal = len(self.days) / self.cuts
        days = len(self.days) if self.cuts == 1 else min(len(self.days), math.ceil(nominal * (1 + CUT_JITTER)))
        return days + self.window - 1, math.ceil(len(self.stocks) / self.groups)

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Span, ...]]:
        """The spans of every optimizer step of one epoch, in random order; every (day, stock) at most once.

        Stocks are regrouped and the cuts between spans shifted by `rng`; the number of steps never changes.
        """
        spans = [
            Span(days, np.sort(group), self.window - 1)
            for group in np.array_split(rng.permutation(self.stocks), self.groups)[: self.drawn]
            for days in self._cut_days(rng)
        ]
        order = rng.permutation(len(spans))
        for first in range(0, len(spans), self.parts):
            yield tuple(spans[i] for i in order[first : first + self.parts])

    def _cut_days(self, rng: np.random.Generator) -> list[range]:
        shift = rng.uniform(-CUT_JITTER, CUT_JITTER)
        inner = (np.arange(1, self.cuts) + shift) * len(self.days) / self.cuts
        edges = [0, *np.floor(inner + 0.5).astype(int).tolist(), len(self.days)]
        return [self.days[start:stop] for start, stop in pairwise(edges)]


def plan(labelled: NDArray[np.bool_], days: range, window: int, config: TrainConfig) -> SpanPlan:
    """Choose span sizes so that one optimizer step holds about `config.batch_size` samples.

    labelled: [len(days), S], whether a stock-day of `days` carries a label and is usable.
    A panel smaller than one batch gives one step per epoch.
    """
    stocks = np.flatnonzero(labelled.any(axis=0)).astype(np.int64)
    return size_plan(stocks, days, int(labelled.sum()), window, config)


def size_plan(stocks: NDArray[np.int64], days: range, num_samples: int, window: int, config: TrainConfig) -> SpanPlan:
    """`plan` from the stocks that have samples and the number of samples alone."""
    per_span = max(1.0, config.batch_size / config.accumulate)
    wanted = config.stocks_per_batch or len(stocks)
    group = max(1, min(wanted, len(stocks), math.floor(per_span)))
    groups = max(1, round(len(stocks) / group))
    cuts = min(max(1, round(num_samples / (groups * per_span))), len(days))
    drawn = max(1, round(groups * config.epoch_fraction))
    return SpanPlan(days, stocks, groups, drawn, cuts, config.accumulate, window)


def day_chunks(days: range, window: int, num_stocks: int, budget: int) -> Iterator[Span]:
    """All stocks, in consecutive chunks of days of about `budget` stock-days of input: how scores are computed.

    A chunk holds at least `window` scored days, so that context is never more than half of the work.
    """
    stocks = np.arange(num_stocks, dtype=np.int64)
    size = max(window, budget // max(1, num_stocks) - (window - 1))
    for start in range(days.start, days.stop, size):
        yield Span(range(start, min(start + size, days.stop)), stocks, window - 1)
