"""What needs no search, on a campaign's own data and labels: ridge, boosted trees and one-day reversal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hpo.domain.trainable import Scored
from hpo.ranking.fitting import check_memory
from hpo.ranking.holdout import score, scored_rule
from trainer.config import ModelConfig, TrainConfig, TrainerConfig
from trainer.data import HoldoutData, open_holdout, open_training
from trainer.data.panel import Fold, TrainingData
from trainer.reports import EpochReport, Verdict
from trainer.training.checkpoint import MODEL
from trainer.training.loop import fit

LEARNT: Mapping[str, ModelConfig] = {
    "ridge": ModelConfig(kind="ridge"),
    # LightGBM's own 100 trees, grown in one go.
    "LightGBM": ModelConfig(kind="lightgbm", rounds_per_epoch=100),
}
"""Contender -> its model. Everything else but data and threads is the default."""
MOST_SAMPLES = 400_000
"""Stock-days that a contender learns from, the newest: on a large panel too it is trained in seconds."""


@dataclass(frozen=True)
class Ground:
    """What contenders are trained and judged on. memory: bytes available."""

    settings: TrainerConfig
    data: Path
    holdout: Path
    memory: int


def contenders(ground: Ground) -> Mapping[str, Callable[[Path], Scored]]:
    """Name -> trains in a folder and gives its series. Reversal is among them where the panel has daily returns."""
    learnt = {name: partial(_learn, ground, model) for name, model in LEARNT.items()}
    held = open_holdout(ground.holdout)
    has_returns = np.isfinite(held.panel.returns[held.days.start : held.days.stop]).any()
    return {**learnt, "one-day reversal": lambda folder: _reversal(held, ground.settings)} if has_returns else learnt


class _Silent:
    """Lets every training run to its end."""

    def report(self, report: EpochReport) -> Verdict:
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.CONTINUE


def _learn(ground: Ground, model: ModelConfig, folder: Path) -> Scored:
    settings, train = ground.settings, ground.settings.train
    config = TrainerConfig(
        data=settings.data,
        model=model.model_copy(update={"window": settings.model.window}),  # part of the gaps between the folds
        train=TrainConfig(epochs=1, device="cpu", threads=train.threads, seed=train.seed, own_metric=train.own_metric),
    )
    check_memory(config, ground.data, ground.memory)
    fit(config, newest(open_training(ground.data), MOST_SAMPLES), _Silent(), folder)
    return score(folder / MODEL, ground.holdout, details=False)


def newest(data: TrainingData, most: int) -> TrainingData:
    """The last fold alone, which is the one nearest to the holdout, with at most `most` stock-days to train on."""
    fold = data.folds[-1]
    counts = data.panel.mask[fold.train.start : fold.train.stop].sum(axis=1)
    num_days = max(1, int((np.cumsum(counts[::-1]) <= most).sum()))
    return replace(data, folds=(Fold(fold.train[-num_days:], fold.valid),))


def _reversal(data: HoldoutData, settings: TrainerConfig) -> Scored:
    """Minus the return into the day, the same for all horizons; a stock without one ranks in the middle."""
    rows = slice(data.days.start, data.days.stop)
    returns = np.where(data.panel.mask[rows], np.nan_to_num(data.panel.returns[rows], nan=0.0), np.nan)
    return scored_rule(
        np.repeat(-returns[..., None], len(data.panel.horizons), axis=-1), data, settings.train.own_metric
    )
