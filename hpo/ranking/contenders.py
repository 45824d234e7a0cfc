"""What needs no search, on a campaign's own data, labels and folds: ridge, boosted trees and one-day reversal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from hpo.domain.trainable import Scored, Trainable
from hpo.domain.training import Decision, EpochReport
from hpo.ranking.holdout import scored_rule
from trainer.config import ModelConfig, TrainConfig, TrainerConfig
from trainer.data import HoldoutData, open_holdout

KINDS: Mapping[str, Literal["ridge", "lightgbm"]] = {"ridge": "ridge", "LightGBM": "lightgbm"}
"""Contender -> `model.kind`, trained with the defaults of everything but data and threads."""


Ranker = Trainable[TrainerConfig]


def contenders(
    ranker: Ranker, settings: TrainerConfig, data: Path, holdout: Path, memory: int
) -> Mapping[str, Callable[[Path], Scored]]:
    """Name -> trains in a folder and gives its series. Reversal is among them where the panel has daily returns."""
    learnt = {
        name: partial(_train, ranker, _defaults(settings, kind), data, holdout, memory) for name, kind in KINDS.items()
    }
    held = open_holdout(holdout)
    has_returns = np.isfinite(held.panel.returns[held.days.start : held.days.stop]).any()
    return {**learnt, "one-day reversal": lambda folder: _reversal(held)} if has_returns else learnt


class _Silent:
    """A reporter that lets every training run to its end."""

    def report(self, report: EpochReport) -> Decision:
        return Decision.CONTINUE

    def poll(self) -> Decision:
        return Decision.CONTINUE

    def decide(self) -> Decision:
        return Decision.CONTINUE


def _defaults(settings: TrainerConfig, kind: Literal["ridge", "lightgbm"]) -> TrainerConfig:
    """The window, which these models do not read, is a part of the gaps between the folds."""
    return TrainerConfig(
        data=settings.data,
        model=ModelConfig(kind=kind, window=settings.model.window),
        train=TrainConfig(device="cpu", threads=settings.train.threads, seed=settings.train.seed),
    )


def _train(ranker: Ranker, config: TrainerConfig, data: Path, holdout: Path, memory: int, folder: Path) -> Scored:
    ranker.check_memory(config, data, memory)
    ranker.fit(config, data, _Silent(), folder)
    scored = ranker.score(folder / "model.pt", holdout)
    assert scored is not None, "the ranker can score"
    return scored


def _reversal(data: HoldoutData) -> Scored:
    """Minus the return into the day, the same for all horizons; a stock without one ranks in the middle."""
    rows = slice(data.days.start, data.days.stop)
    returns = np.where(data.panel.mask[rows], np.nan_to_num(data.panel.returns[rows], nan=0.0), np.nan)
    return scored_rule(np.repeat(-returns[..., None], len(data.panel.horizons), axis=-1), data)
