"""Boosted trees of a fold: an epoch is a number of rounds, each epoch a booster on what the ones before it left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.config import TrainerConfig
from trainer.data.panel import Fold
from trainer.models.tabular import Trees
from trainer.training.evaluate import daily_metrics
from trainer.training.feed import Feed
from trainer.training.fitters.samples import samples, training_samples
from trainer.training.folds import check_labelled
from trainer.training.precision import Precision

if TYPE_CHECKING:
    import lightgbm

SETTINGS = ("num_leaves", "learning_rate", "min_data_in_leaf", "feature_fraction", "bagging_fraction", "lambda_l2")
"""Fields of ModelConfig that LightGBM knows by the same name."""


class BoostedFold:
    """LightGBM's regression trees (Ke et al., NeurIPS 2017) on the labels, a booster per horizon and epoch.

    A booster starts from the sum of the earlier ones' outputs, and its seeds come from (seed, fold, epoch): what an
    epoch adds depends on nothing else, so that a resumed run equals the uninterrupted one bit for bit.
    """

    def __init__(self, config: TrainerConfig, feed: Feed, fold: Fold, index: int, precision: Precision) -> None:
        panel, labels = feed.panel, feed.labels
        self._config, self._panel, self._fold, self._index = config, panel, fold, index
        check_labelled(panel, labels, fold, index)
        self._train = training_samples(panel, labels, fold.train)
        self._valid = samples(panel, labels, fold.valid)
        self.model = Trees(config.model, len(panel.feature_names), len(panel.horizons))
        self._train_scores = np.zeros(self._train.label.shape)  # of the parts before the newest epoch's
        self._num_summed = 0
        self._valid_scores = np.zeros(self._valid.label.shape)
        self._tables = self._make_tables()

    @property
    def num_parameters(self) -> int:
        """Leaves grown so far."""
        return self.model.num_leaves

    def train_epoch(self, epoch: int, stop: Callable[[], bool]) -> dict[str, float] | None:
        """Grow `model.rounds_per_epoch` trees per horizon; mean squared error and samples. None, with nothing grown,
        when `stop()` between two of them."""
        self._sum_up()
        part, losses = [], []
        for column, table in enumerate(self._tables):
            grown = self._grow(table, column, epoch, stop)
            if grown is None:
                return None
            part.append(grown.model_to_string())
            losses.append(grown.eval_train()[0][2])
        self._add(part)
        return {"loss": float(np.mean(losses)), "samples": float(len(self._train.label))}

    def validate(self) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
        """Validation loss, and the daily series."""
        placed = self._valid.on_the_calendar(self._valid_scores)
        series = daily_metrics(placed, self._panel, self._fold.valid, self._config.train.own_metric)
        return {"loss": self._valid.loss(self._valid_scores)}, series

    def judged(self, score: float) -> None:
        """Nothing depends on it."""

    def weights(self) -> dict[str, Any]:
        """The trees."""
        return dict(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The trees; sums of their outputs are made again."""
        return self.weights()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        saved = Trees(self._config.model, len(self._panel.feature_names), len(self._panel.horizons))
        saved.load_state_dict(state)
        for part in saved.parts:
            self._add(part)

    def _make_tables(self) -> list[lightgbm.Dataset]:
        """The training samples of each horizon, binned alike."""
        import lightgbm

        whole = lightgbm.Dataset(self._train.features, params=self._parameters(0, 0)).construct()
        tables = []
        for column, known in enumerate(self._train.labelled.T):
            table = whole.subset(np.flatnonzero(known).tolist(), params=self._parameters(column, 0))
            tables.append(table.construct().set_label(self._train.label[known, column]))
        return tables

    def _grow(
        self, table: lightgbm.Dataset, column: int, epoch: int, stop: Callable[[], bool]
    ) -> lightgbm.Booster | None:
        import lightgbm

        known = self._train.labelled[:, column]
        table.set_init_score(self._train_scores[known, column])
        booster = lightgbm.Booster(self._parameters(column, epoch), table)
        for _ in range(self._config.model.rounds_per_epoch):
            if stop():
                return None
            booster.update()
        return booster

    def _add(self, part: list[str]) -> None:
        self.model.grow(part)
        self._valid_scores += self.model.outputs(part, self._valid.features)

    def _sum_up(self) -> None:
        """What the coming epoch starts from. Outputs of the last epoch, a good part of its cost, are never needed."""
        for part in self.model.parts[self._num_summed :]:
            self._train_scores += self.model.outputs(part, self._train.features)
        self._num_summed = len(self.model.parts)

    def _parameters(self, column: int, epoch: int) -> dict[str, Any]:
        drawn = np.random.SeedSequence([self._config.train.seed, self._index, epoch, column]).generate_state(2)
        bagging, feature = (int(number) % 2**31 for number in drawn)
        return {
            **{name: getattr(self._config.model, name) for name in SETTINGS},
            "objective": "regression",
            "metric": "l2",
            "bagging_freq": 1,
            "bagging_seed": bagging,
            "feature_fraction_seed": feature,
            "feature_pre_filter": False,
            "boost_from_average": False,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": torch.get_num_threads(),
            "verbosity": -1,
        }
