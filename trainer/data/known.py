"""The whole panel put together again, and what of it was known on a day: for trainings that follow a search."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from trainer.data.panel import HoldoutData, Panel
from trainer.data.prepare import open_holdout, open_training


@lru_cache(maxsize=1)
def open_whole(search: Path, holdout: Path) -> HoldoutData:
    """All days of a prepared panel, in memory, with the holdout's positions. Raises CacheFault as `open_training`.

    The days that both folders hold are taken from the holdout's, where their labels are complete. The oracle is
    left out.
    """
    early, late = open_training(search).panel, open_holdout(holdout)
    first = int(np.searchsorted(early.dates, late.panel.dates[0]))
    panel = replace(
        late.panel,
        dates=np.concatenate([early.dates[:first], late.panel.dates]),
        features=np.concatenate([early.features[:first], late.panel.features]),
        mask=np.concatenate([early.mask[:first], late.panel.mask]),
        targets={
            name: np.concatenate([early.targets[name][:first], values]) for name, values in late.panel.targets.items()
        },
        sectors=np.concatenate([early.sectors[:first], late.panel.sectors]),
        returns=np.concatenate([early.returns[:first], late.panel.returns]),
        oracle=None,
    )
    return HoldoutData(panel, range(first + late.days.start, first + late.days.stop))


def known_by(panel: Panel, stop: int) -> Panel:
    """The first `stop` days, without the labels that end after them, and without the oracle."""
    targets = {}
    for name, values in panel.targets.items():
        part = np.array(values[:stop])
        for column, horizon in enumerate(panel.horizons):
            part[max(0, stop - horizon - ("lag1" in name)) :, :, column] = np.nan
        targets[name] = part
    return replace(
        panel,
        dates=panel.dates[:stop],
        features=panel.features[:stop],
        mask=panel.mask[:stop],
        targets=targets,
        sectors=panel.sectors[:stop],
        returns=panel.returns[:stop],
        oracle=None,
    )
