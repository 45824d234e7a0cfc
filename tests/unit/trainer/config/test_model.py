"""The table of settings that a model reads, and settings that make no model."""

from __future__ import annotations

import pytest
import torch

from trainer.config import MODEL_KNOBS, TABULAR_KINDS, ModelConfig
from trainer.models import MODELS, build_model
from trainer.models.graph import Graph

ALTERED = {
    "window": 9,
    "hidden_size": 32,
    "num_heads": 2,
    "num_layers": 3,
    "dropout": 0.1,
    "variable_selection": False,
    "frequency_normalisation": True,
    "num_neighbours": 2,
    "alpha": 1.0,
    "rounds_per_epoch": 9,
    "num_leaves": 5,
    "learning_rate": 0.3,
    "min_data_in_leaf": 90,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.5,
    "lambda_l2": 50.0,
}


@pytest.mark.parametrize("kind", sorted(set(MODELS) - TABULAR_KINDS))
@pytest.mark.parametrize("knob", ALTERED)
def test_a_setting_changes_a_model_exactly_where_the_table_says_so(kind: str, knob: str) -> None:
    base = {"kind": kind, "window": 8, "hidden_size": 16, "dropout": 0.3}
    x, mask = torch.randn(12, 5, 4), torch.ones(12, 5, dtype=torch.bool)
    graph = Graph(torch.randint(0, 5, (12, 5, 2)), torch.rand(12, 5, 2))

    def scores(settings: dict[str, object]) -> torch.Tensor:
        torch.manual_seed(1)
        model = build_model(ModelConfig(**settings), 4, 2).train()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        torch.manual_seed(2)
        return model(x, mask, graph).detach()

    changed = not torch.equal(scores(base), scores({**base, knob: ALTERED[knob]}))
    assert changed == (knob in MODEL_KNOBS[kind])


def test_the_table_of_settings_names_settings() -> None:
    assert set(MODEL_KNOBS) == set(MODELS)
    assert set().union(*MODEL_KNOBS.values()) == set(ModelConfig.model_fields) - {"kind"} == set(ALTERED)


def test_a_model_with_neighbours_asks_for_a_graph() -> None:
    model = build_model(ModelConfig(num_neighbours=3), 4, 2)
    with pytest.raises(ValueError, match="must be given a graph"):
        model(torch.randn(20, 3, 4), torch.ones(20, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"num_heads": 3}, "model.num_heads=3 does not divide model.hidden_size=32"),
        ({"window": 3}, "model.window=3 is too short for atft_gat_fan"),
    ],
)
def test_settings_that_make_no_model_are_refused(settings: dict[str, int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        ModelConfig(**settings)
    ModelConfig(**settings, kind="mlp")
