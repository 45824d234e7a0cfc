"""A configuration of the ranker trained again on more days than the search gave it, and how far two scorers agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpo.domain.trainable import Prepared
from trainer.config import TrainerConfig
from trainer.data import Fold, TrainingData, open_holdout, open_training
from trainer.data.known import known_by, open_whole
from trainer.errors import CheckpointError
from trainer.metrics import daily_rank_ic
from trainer.reports import EpochReport, Verdict
from trainer.scoring.committee import open_scorer
from trainer.training import checkpoint
from trainer.training.loop import fit


@dataclass
class _Until:
    """Lets a training run for `num_epochs`; its last epoch is then the one that is kept."""

    num_epochs: int
    seen: int = 0

    def report(self, report: EpochReport) -> Verdict:
        self.seen = report.epoch
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.STOP if self.seen >= self.num_epochs else Verdict.CONTINUE


def refit(settings: TrainerConfig, prepared: Prepared, known: int, num_epochs: int, folder: Path) -> Path:
    """See `Trainable.refit`. The last fold's first day stays the first; its validation days are learnt from as well,
    and what is validated on them means nothing. The panel is made for it, so that one device trains."""
    assert prepared.holdout is not None, "a prepared panel has a holdout"
    config = settings.model_copy(update={"train": settings.train.model_copy(update={"patience": 0, "devices": 1})})
    whole = open_whole(prepared.search, prepared.holdout)
    panel = known_by(whole.panel, whole.days.start + known)
    fold = open_training(prepared.search).folds[-1]
    data = TrainingData(panel, (Fold(range(fold.train.start, len(panel.dates)), fold.valid),))
    model = folder / checkpoint.MODEL
    if not _is_made(model, config, num_epochs, str(panel.dates[-1])):
        fit(config, data, _Until(num_epochs), folder)
    for name in (checkpoint.LAST, checkpoint.PREVIOUS):
        (folder / name).unlink(missing_ok=True)
    return model


def _is_made(model: Path, config: TrainerConfig, num_epochs: int, last_day: str) -> bool:
    try:
        state = checkpoint.load(model)
    except (FileNotFoundError, CheckpointError):
        return False
    wanted = {"config": config.model_dump(mode="json"), "epoch": num_epochs, "last_day": last_day}
    return all(state.get(name) == value for name, value in wanted.items())


def agreement(first: Path, second: Path, holdout: Path) -> float:
    """Mean daily rank correlation of two scorers' scores on the holdout days, over horizons."""
    data = open_holdout(holdout)
    one, other = (open_scorer(path).score(data.panel, data.days) for path in (first, second))
    return float(np.nanmean(daily_rank_ic(one, other).numpy()))
