"""The models, in one table. All of them keep the contract of `trainer.models.ranker.Ranker`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from trainer import imports
from trainer.config import ModelConfig
from trainer.errors import InputError
from trainer.models.atft_gat_fan import AtftGatFan
from trainer.models.baselines import GRU, MLP, Linear
from trainer.models.ranker import Ranker
from trainer.models.tabular import Ridge, Trees

MODELS: Mapping[str, Callable[[ModelConfig, int, int], Ranker]] = {
    "ridge": Ridge,
    "lightgbm": Trees,
    "linear": Linear,
    "mlp": MLP,
    "gru": GRU,
    "atft_gat_fan": AtftGatFan,
}
"""Model by its name in `ModelConfig.kind`."""


def build_model(config: ModelConfig, num_features: int, num_horizons: int) -> Ranker:
    """A freshly initialised model; its weights come from torch's global random state."""
    return model_class(config.kind)(config, num_features, num_horizons)


def model_class(kind: str) -> Callable[[ModelConfig, int, int], Ranker]:
    """What builds a kind of model, the user's own included. Raises InputError where that is no Ranker."""
    if kind in MODELS:
        return MODELS[kind]
    found = imports.load(kind)
    if not (inspect.isclass(found) and issubclass(found, Ranker)):
        raise InputError(f"model.kind={kind} is no ranker; derive the class from trainer.models.Ranker.")
    own: Callable[[ModelConfig, int, int], Ranker] = found
    return own
