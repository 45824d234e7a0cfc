"""The trainer's configuration: frozen, typed, unknown keys refused. The single source of every default."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from trainer import imports
from trainer.config.data import ColumnsConfig, DataConfig, SplitConfig
from trainer.config.model import MODEL_KNOBS, TABULAR_KINDS, ModelConfig, is_read, knobs_of
from trainer.config.section import Section
from trainer.config.training import LOSS_TERMS, OWN_TERM, PHASE_PRESETS, LossConfig, LossPhase, OptimConfig, TrainConfig

__all__ = [
    "LOSS_TERMS",
    "MODEL_KNOBS",
    "OWN_TERM",
    "PHASE_PRESETS",
    "TABULAR_KINDS",
    "ColumnsConfig",
    "DataConfig",
    "LossConfig",
    "LossPhase",
    "ModelConfig",
    "OptimConfig",
    "SplitConfig",
    "TrainConfig",
    "TrainerConfig",
    "is_read",
    "knobs_of",
    "own_files",
    "own_paths",
]


class TrainerConfig(Section):
    """One training run, completely."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _devices_share_gradients(self) -> Self:
        if self.train.devices > 1 and self.model.kind in TABULAR_KINDS:
            raise ValueError(
                f"train.devices={self.train.devices} spreads a training by gradients, and model.kind={self.model.kind} "
                "has none; set train.devices=1, and more train.threads"
            )
        return self

    @property
    def num_epochs(self) -> int:
        """Epochs of a training that nobody stops: `ridge` is solved in its first one."""
        return 1 if self.model.kind == "ridge" else self.train.epochs


def own_paths(config: TrainerConfig) -> tuple[str, ...]:
    """The import paths in a configuration: of a model, a loss term and a metric of the user's own."""
    named = (config.model.kind, config.loss.own_term, config.train.own_metric)
    return tuple(path for path in named if path is not None and imports.is_path(path))


def own_files(config: TrainerConfig) -> tuple[Path, ...]:
    """The files of what the configuration names by import path."""
    files = [file for path in own_paths(config) for file in imports.files_of(path)]
    return tuple(dict.fromkeys(files))
