"""The table of settings that a model reads, and settings that make no model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from trainer.config import MODEL_KNOBS, TABULAR_KINDS, ModelConfig, is_read
from trainer.errors import InputError
from trainer.models import MODELS, build_model, model_class
from trainer.models.graph import Graph
from trainer.settings import first_problem

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
    assert set().union(*MODEL_KNOBS.values()) == set(ModelConfig.model_fields) - {"kind", "own"} == set(ALTERED)


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


OWN = """
from pydantic import BaseModel, Field

from trainer.models import Ranker


class Settings(BaseModel):
    width: int = Field(8, ge=2)
    num_neighbours: int = 0


class Mine(Ranker):
    schema = Settings

    def score(self, x, mask, graph):
        return x


class Unfinished(Ranker):
    pass


class Needy(BaseModel):
    width: int


class Demanding(Mine):
    schema = Needy


class Stranger:
    pass


class Pretender:
    schema = Settings
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's."""
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return "own_models"


def test_settings_of_a_model_of_ones_own_survive_json_and_say_its_neighbours(own: str) -> None:
    made = ModelConfig.model_validate({"kind": f"{own}:Mine", "own": {"num_neighbours": 3}})
    plain = made.model_dump(mode="json")
    assert plain["own"] == {"width": 8, "num_neighbours": 3}
    assert ModelConfig.model_validate(plain).model_dump(mode="json") == plain
    assert made.neighbours == 3
    assert is_read(made.kind, "model.own.width")
    assert not is_read(made.kind, "model.hidden_size")
    assert ModelConfig.model_validate({**plain, "kind": "gru"}).own is None, "its settings do not concern another kind"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("Mine", {"widht": 3}, "Settings has no field 'widht'; did you mean 'width'"),
        ("Mine", {"width": 1}, "model.own.width=1: Input should be greater than or equal to 2"),
        ("Mine", 3, "it must hold settings of Settings, not a int"),
        ("Unfinished", {}, "the class Unfinished lacks the methods score"),
        ("Demanding", {}, "Needy needs a default for every field: Field required"),
        ("Stranger", {}, "derive the class from trainer.models.Ranker"),
        ("OWN", {}, "has no 'OWN'"),
    ],
)
def test_what_is_no_model_is_said_in_a_sentence(own: str, name: str, settings: object, said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        ModelConfig.model_validate({"kind": f"{own}:{name}", "own": settings})
    assert said in first_problem(refusal.value)[1]


def test_a_class_with_a_schema_alone_is_refused_before_it_is_built(own: str) -> None:
    with pytest.raises(InputError, match=r"is no ranker; derive the class from trainer\.models\.Ranker"):
        model_class(f"{own}:Pretender")
