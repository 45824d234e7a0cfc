"""The panel: read or generated, checked, turned into features and targets, cached and split."""

from trainer.data.cache import verify
from trainer.data.panel import Fold, HoldoutData, Panel, TrainingData
from trainer.data.planted import ceiling
from trainer.data.prepare import Prepared, open_holdout, open_training, prepare
from trainer.data.summary import summary_lines

__all__ = [
    "Fold",
    "HoldoutData",
    "Panel",
    "Prepared",
    "TrainingData",
    "ceiling",
    "open_holdout",
    "open_training",
    "prepare",
    "summary_lines",
    "verify",
]
