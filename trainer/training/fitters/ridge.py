"""Ridge regression of a fold, solved at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.config import TrainerConfig
from trainer.data.panel import Fold
from trainer.models.tabular import Ridge
from trainer.training.evaluate import daily_metrics
from trainer.training.feed import Feed
from trainer.training.fitters.samples import Samples, samples, training_samples
from trainer.training.folds import check_labelled
from trainer.training.precision import Precision

# Rows that are in memory in double precision at once.
CHUNK = 65_536


class RidgeFold:
    """Least squares per horizon with a penalty of `model.alpha` times the number of samples (Hoerl & Kennard 1970)."""

    def __init__(self, config: TrainerConfig, feed: Feed, fold: Fold, index: int, precision: Precision) -> None:
        panel, labels = feed.panel, feed.labels
        self._config, self._panel, self._fold = config, panel, fold
        check_labelled(panel, labels, fold, index)
        self._train = training_samples(panel, labels, fold.train)
        self._valid = samples(panel, labels, fold.valid)
        self.model = Ridge(config.model, len(panel.feature_names), len(panel.horizons))

    @property
    def num_parameters(self) -> int:
        """Coefficients."""
        return self.model.coefficients.numel()

    def train_epoch(self, epoch: int, stop: Callable[[], bool]) -> dict[str, float] | None:
        """Solve; every epoch gives the same."""
        if stop():
            return None
        columns = [self._solve(column) for column in range(len(self._panel.horizons))]
        self.model.coefficients.copy_(torch.stack(columns, dim=1).float())
        return {"loss": self._train.loss(self._scores(self._train)), "samples": float(len(self._train.label))}

    def validate(self) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
        """Validation loss, and the daily series."""
        scores = self._scores(self._valid)
        placed, own = self._valid.on_the_calendar(scores), self._config.train.own_metric
        series = daily_metrics(placed, self._panel, self._fold.valid, own)
        return {"loss": self._valid.loss(scores)}, series

    def judged(self, score: float) -> None:
        """Nothing depends on it."""

    def weights(self) -> dict[str, Any]:
        """The coefficients."""
        return {"coefficients": self.model.coefficients.clone()}

    def state_dict(self) -> dict[str, Any]:
        """The coefficients."""
        return self.weights()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.model.load_state_dict(state)

    def _solve(self, column: int) -> torch.Tensor:
        known = self._train.labelled[:, column]
        features, label = self._train.features[known], self._train.label[known, column]
        size = features.shape[1]
        gram, moment = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        for start in range(0, len(label), CHUNK):
            x = torch.from_numpy(features[start : start + CHUNK]).double()
            gram += x.T @ x
            moment += x.T @ torch.from_numpy(label[start : start + CHUNK]).double()
        penalty = self._config.model.alpha * max(1, len(label)) * torch.eye(size, dtype=torch.float64)
        # Least squares of smallest norm: without a penalty a feature that never varies has no effect, not a fault.
        solved: torch.Tensor = torch.linalg.lstsq(gram + penalty, moment.unsqueeze(1), driver="gelsd").solution
        return solved.squeeze(1)

    def _scores(self, table: Samples) -> NDArray[np.float64]:
        x = torch.from_numpy(table.features)
        return (x @ self.model.coefficients).double().numpy()
