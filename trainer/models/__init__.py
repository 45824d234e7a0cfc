"""The models, in one table. All of them keep the contract of `trainer.models.ranker.Ranker`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trainer.config import ModelConfig
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
    return MODELS[config.kind](config, num_features, num_horizons)
