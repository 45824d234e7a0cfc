"""A fold as a table: a row per usable stock-day, for models that see one stock-day at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.panel import Panel
from trainer.training.labels import Labels


@dataclass(frozen=True)
class Samples:
    """N usable stock-days of a range of days, in the order of days and stocks.

    usable: bool [len(days), S], the place of each row. features: float32 [N, F]. label: float32 [N, H], NaN where
    there is none.
    """

    usable: NDArray[np.bool_]
    features: NDArray[np.float32]
    label: NDArray[np.float32]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether a row has the label: bool [N, H]."""
        return np.isfinite(self.label)

    def loss(self, scores: NDArray[np.float64]) -> float:
        """Mean squared error of scores [N, H], over the labels of a horizon and then over horizons; NaN without any."""
        known = self.labelled
        squares = np.where(known, np.nan_to_num(self.label) - scores, 0.0) ** 2
        seen = known.any(axis=0)
        return float((squares.sum(axis=0)[seen] / known.sum(axis=0)[seen]).mean()) if seen.any() else float("nan")

    def on_the_calendar(self, scores: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scores [N, H] as float32 [len(days), S, H], NaN where a stock-day is not usable."""
        placed = np.full((*self.usable.shape, scores.shape[1]), np.nan, dtype=np.float32)
        placed[self.usable] = scores
        return placed


def samples(panel: Panel, labels: Labels, days: range) -> Samples:
    """All usable stock-days of `days`, labelled or not."""
    rows = slice(days.start, days.stop)
    usable = np.array(panel.mask[rows])
    return Samples(usable, _gathered(panel, rows, usable), np.array(labels.label[rows][usable]))


def training_samples(panel: Panel, labels: Labels, days: range) -> Samples:
    """The stock-days of `days` with a label of at least one horizon."""
    rows = slice(days.start, days.stop)
    usable = np.array(panel.mask[rows]) & np.isfinite(labels.label[rows]).any(axis=-1)
    return Samples(usable, _gathered(panel, rows, usable), np.array(labels.label[rows][usable]))


def table_bytes(panel_shape: tuple[int, int, int], num_horizons: int) -> int:
    """Peak memory of a fold's tables for a panel of [D, S, F]: rows and their bins, labels and sums of scores."""
    days, stocks, features = panel_shape
    return days * stocks * (4 * features + features * (1 + num_horizons) + 24 * num_horizons)


def _gathered(panel: Panel, rows: slice, usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Day by day, so that a panel on disk is never in memory as a whole beside the rows."""
    found = np.empty((int(usable.sum()), panel.features.shape[2]), dtype=np.float32)
    ends = np.cumsum(usable.sum(axis=1))
    for day, (features, chosen) in enumerate(zip(panel.features[rows], usable, strict=True)):
        found[ends[day] - chosen.sum() : ends[day]] = features[chosen]
    return found
