"""Scores of a finished run on any panel: for the holdout, for predictions, for whoever loads the champion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from trainer.config import TrainerConfig
from trainer.data.panel import Panel
from trainer.errors import CheckpointError, InputError
from trainer.models import build_model
from trainer.scoring.ranks import share_of
from trainer.settings import first_problem
from trainer.training import checkpoint
from trainer.training.evaluate import daily_metrics, score_days
from trainer.training.feed import Feed
from trainer.training.labels import unlabelled
from trainer.training.precision import Precision, choose_precision


@dataclass(frozen=True)
class Scorer:
    """The models of a run's folds, as its last epoch left them, with what they must be fed.

    last_day: of the panel the run was given, validation included; scores of later days are out of sample.
    """

    config: TrainerConfig
    feature_names: tuple[str, ...]
    horizons: tuple[int, ...]
    epoch: int
    last_day: np.datetime64
    models: tuple[nn.Module, ...]
    precision: Precision

    @property
    def configs(self) -> tuple[TrainerConfig, ...]:
        """The settings that it was trained with, as a committee has those of its members."""
        return (self.config,)

    def score(self, panel: Panel, days: range, combine: Literal["mean", "rank"] = "mean") -> NDArray[np.float32]:
        """Scores float32 [len(days), S, H], NaN where a stock is masked; higher is better.

        days: positions on the panel's calendar; the window - 1 days before them are looked at where they exist.
        combine: how several folds' models become one score: the mean of their scores, or of their daily ranks
        (0 to 1); a single model's scores are given as they are.
        Raises InputError where the panel's features or horizons are not those the models were trained on.
        """
        self.check(panel)
        feed = Feed(panel, unlabelled(panel), self.config.model, self.precision.device)
        scores = [score_days(model, feed, days, self.config.model.window, self.precision) for model in self.models]
        if combine == "rank" and len(scores) > 1:
            scores = [share_of(score) for score in scores]
        combined: NDArray[np.float32] = torch.stack(scores).mean(0).cpu().numpy()
        return combined

    def check(self, panel: Panel) -> None:
        """Raise InputError, naming the difference, unless the panel can be scored."""
        if panel.horizons != self.horizons:
            raise InputError(
                f"the panel has horizons {panel.horizons}, the model {self.horizons}; prepare the data with "
                f"data.horizons={list(self.horizons)}."
            )
        if panel.feature_names == self.feature_names:
            return
        missing = [name for name in self.feature_names if name not in panel.feature_names]
        surplus = [name for name in panel.feature_names if name not in self.feature_names]
        difference = [
            *([f"it lacks {', '.join(missing)}"] if missing else []),
            *([f"the model does not know {', '.join(surplus)}"] if surplus else []),
        ]
        raise InputError(
            f"the panel's features are not those of the model: {' and '.join(difference) or 'their order differs'}; "
            "prepare the data with the same recipe and the same columns."
        )


def load_scorer(path: Path, device: str = "auto") -> Scorer:
    """The scorer of a `model.pt`.

    Raises CheckpointError where the file is damaged or something else, FileNotFoundError where there is none.
    """
    state = checkpoint.load(path)
    if "weights" not in state:
        raise CheckpointError(f"{path} is not a {checkpoint.MODEL}: it holds no scored weights.")
    try:
        config = TrainerConfig.model_validate(state["config"])
    except ValidationError as error:
        what = "was written by another version of this program, or by a model that is not here"
        raise CheckpointError(f"{path} {what}: {first_problem(error)[1]}.") from error
    precision = choose_precision(config.train.model_copy(update={"device": device}))
    features, horizons = tuple(state["feature_names"]), tuple(state["horizons"])
    models = []
    for weights in state["weights"]:
        model = build_model(config.model, len(features), len(horizons))
        model.load_state_dict(weights)
        models.append(model.to(precision.device).requires_grad_(False).eval())
    return Scorer(
        config, features, horizons, state["epoch"], np.datetime64(state["last_day"]), tuple(models), precision
    )


def evaluate(scorer: Scorer, panel: Panel, days: range) -> dict[str, NDArray[np.float32]]:
    """Daily metrics on `days` by name, against every target variant and horizon; float32 [len(days)] each."""
    return daily_metrics(scorer.score(panel, days), panel, days, scorer.config.train.own_metric)
