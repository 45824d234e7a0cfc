"""How each kind of model is fitted to a fold: by gradients, or in one of the ways of a table of stock-days."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.config import TrainerConfig
from trainer.data.panel import Fold
from trainer.training.feed import Feed
from trainer.training.fitters.boosting import BoostedFold
from trainer.training.fitters.ridge import RidgeFold
from trainer.training.folds import FoldRun
from trainer.training.precision import Precision


class Fitter(Protocol):
    """The model of one fold, advanced an epoch at a time by `fit`."""

    @property
    def num_parameters(self) -> int:
        """Numbers the model has learnt or will learn."""
        ...

    def train_epoch(self, epoch: int, stop: Callable[[], bool]) -> dict[str, float] | None:
        """Train `epoch` (counted from 1): `loss`, `samples` and what else there is to watch. None when `stop()`."""
        ...

    def validate(self) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
        """Validation scalars (`loss`, ...), and the daily series of the model that `weights` gives."""
        ...

    def judged(self, score: float) -> None:
        """Hear the monitored metric of the epoch, over all folds."""
        ...

    def weights(self) -> dict[str, Any]:
        """A copy of the validated model's state, on the CPU: for `load_state_dict` of the kind's model."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: all that a resumed run needs, beside the epoch."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        ...


FITTERS: Mapping[str, Callable[[TrainerConfig, Feed, Fold, int, Precision], Fitter]] = {
    "ridge": RidgeFold,
    "lightgbm": BoostedFold,
    "linear": FoldRun,
    "mlp": FoldRun,
    "gru": FoldRun,
    "atft_gat_fan": FoldRun,
}
"""Fitter by `model.kind`. Each raises InputError where the fold has no labelled stock-day."""
