"""A checkpoint of the ranker on the holdout: its daily series, its scores stock by stock, and the best possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo.domain.trainable import Scored
from hpo.ranking.metrics import with_derived
from hpo.ranking.portfolio import PanelScores
from trainer.data import HoldoutData, open_holdout
from trainer.scoring.committee import open_scorer
from trainer.training.evaluate import daily_metrics


def score(checkpoint: Path, part: Path, *, details: bool) -> Scored:
    """Daily metrics by name. Raises trainer.errors.CheckpointError for a damaged file."""
    data = open_holdout(part)
    rows = slice(data.days.start, data.days.stop)
    scorer = open_scorer(checkpoint)
    scores, own = scorer.score(data.panel, data.days), scorer.configs[0].train.own_metric
    dates, series, oracle = np.array(data.panel.dates[rows]), _series(scores, data, own), data.panel.oracle
    if not details:
        return Scored(dates, series)
    ceiling = None if oracle is None else _series(np.array(oracle[rows], dtype=np.float32), data, own)
    return Scored(dates, series, ceiling, _panel_scores(scores, data))


def scored_rule(scores: NDArray[np.float32], data: HoldoutData, own: str | None) -> Scored:
    """Daily metrics of scores [D, S, H] on the holdout's days that no checkpoint made. own: import path of the user's
    metric."""
    return Scored(np.array(data.panel.dates[data.days.start : data.days.stop]), _series(scores, data, own))


def _series(scores: NDArray[np.float32], data: HoldoutData, own: str | None) -> dict[str, NDArray[np.float32]]:
    return with_derived(daily_metrics(scores, data.panel, data.days, own))


def _panel_scores(scores: NDArray[np.float32], data: HoldoutData) -> PanelScores:
    panel, rows = data.panel, slice(data.days.start, data.days.stop)
    return PanelScores(
        dates=np.array(panel.dates[rows]),
        horizons=panel.horizons,
        scores=scores,
        targets={name: np.array(values[rows]) for name, values in panel.targets.items()},
        returns=np.array(panel.returns[rows]),
        sectors=np.array(panel.sectors[rows]),
        sector_names=panel.sector_names,
    )
