"""Scoring finished trials on the holdout: after the search, in a process that no trial runs in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpo.domain.champion import Champion
from hpo.report.evidence import DailySeries, HoldoutEvidence, PanelScores, with_means
from hpo.runs.archive import Archive

if TYPE_CHECKING:
    from trainer.data import HoldoutData


def measure(
    archive: Archive, slots: Iterable[int], champion: Champion | None, deployed: Path | None, holdout: Path
) -> HoldoutEvidence:
    """The daily series of each slot's model on the holdout, and what is deployed stock by stock.

    deployed: the file that scores for the champion; None: the slots alone.

    Slots without a checkpoint here (not kept, or trained on another machine) are left out. Opening the holdout is the
    caller's to count. Raises EnvironmentFault for a file that is not the recorded one.
    """
    from trainer.data import open_holdout
    from trainer.scoring.committee import open_scorer
    from trainer.scoring.scorer import load_scorer

    data = open_holdout(holdout)
    daily: dict[int, DailySeries] = {}
    champion_scores = None
    for slot in slots:
        if not archive.is_kept(slot):
            continue
        daily[slot] = _series(load_scorer(archive.model(slot)).score(data.panel, data.days), data)
    committee = None
    if champion is not None and deployed is not None:
        scores = open_scorer(deployed).score(data.panel, data.days)
        champion_scores = _panel_scores(scores, data)
        committee = _series(scores, data) if champion.is_committee else None
    rows = slice(data.days.start, data.days.stop)
    oracle = data.panel.oracle
    return HoldoutEvidence(
        dates=np.array(data.panel.dates[rows]),
        daily=daily,
        champion_scores=champion_scores,
        committee=committee,
        ceiling=None if oracle is None else _series(np.array(oracle[rows], dtype=np.float32), data),
        source="model.pt of each run on the prepared holdout",
    )


def _series(scores: NDArray[np.float32], data: HoldoutData) -> DailySeries:
    from trainer.training.evaluate import daily_metrics

    return with_means(daily_metrics(scores, data.panel, data.days))


def _panel_scores(scores: NDArray[np.float32], data: HoldoutData) -> PanelScores:
    panel, rows = data.panel, slice(data.days.start, data.days.stop)
    return PanelScores(
        dates=np.array(panel.dates[rows]),
        horizons=panel.horizons,
        scores=scores,
        targets={name: np.array(values[rows]) for name, values in panel.targets.items()},
        returns=np.array(panel.returns[rows]),
        sectors=np.array(panel.sectors),
        sector_names=panel.sector_names,
    )
