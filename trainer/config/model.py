"""Settings of the model, and which settings each kind of model reads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from trainer import imports
from trainer.config.section import NonNegative, Section
from trainer.errors import InputError
from trainer.settings import first_problem
from trainer.suggestions import nearest

MODEL_KNOBS: dict[str, frozenset[str]] = {
    "ridge": frozenset({"alpha"}),
    "lightgbm": frozenset(
        {
            "rounds_per_epoch",
            "num_leaves",
            "learning_rate",
            "min_data_in_leaf",
            "feature_fraction",
            "bagging_fraction",
            "lambda_l2",
        }
    ),
    "linear": frozenset({"window"}),
    "mlp": frozenset({"window", "hidden_size", "num_layers", "dropout"}),
    "gru": frozenset({"window", "hidden_size", "num_layers", "dropout"}),
    "atft_gat_fan": frozenset(
        {
            "window",
            "hidden_size",
            "num_heads",
            "num_layers",
            "dropout",
            "variable_selection",
            "frequency_normalisation",
            "num_neighbours",
        }
    ),
}
"""Fields of ModelConfig that each kind of model reads; the others change nothing there. `window` is also a part of the
gaps between train, validation and holdout, whatever the model."""

OWN_KNOBS: frozenset[str] = frozenset({"window", "own"})
"""The same for a model of the user's own."""

TABULAR_KINDS: frozenset[str] = frozenset({"ridge", "lightgbm"})
"""Kinds that are fitted to a table of stock-days, each with its own day's features, and not by gradients."""

GRADIENT_SETTINGS: tuple[str, ...] = (
    "optim.",
    "loss.",
    "train.batch_size",
    "train.stocks_per_batch",
    "train.accumulate",
    "train.ema_decay",
    "train.swa_fraction",
    "train.epoch_fraction",
    "train.precision",
)
"""Settings, or beginnings of their names, that change nothing in the training of TABULAR_KINDS."""


def knobs_of(kind: str) -> frozenset[str]:
    """Fields of ModelConfig that a kind of model reads."""
    return MODEL_KNOBS.get(kind, OWN_KNOBS)


def is_read(kind: str, setting: str) -> bool:
    """Whether a dotted setting changes the training of this kind of model, on the days it is given."""
    section, _, field = setting.partition(".")
    if section == "model":
        return field == "kind" or field.partition(".")[0] in knobs_of(kind)
    if kind == "ridge" and setting in ("train.epochs", "train.patience", "train.seed"):
        return False
    return kind not in TABULAR_KINDS or not setting.startswith(GRADIENT_SETTINGS)


class ModelConfig(Section):
    """The ranker. Which fields a kind reads is listed in MODEL_KNOBS."""

    kind: str = "atft_gat_fan"
    """A kind in MODEL_KNOBS, or the import path of a model of your own: `my_module:MyRanker`, a class derived from
    `trainer.models.Ranker`."""
    own: SerializeAsAny[BaseModel] | None = Field(default=None, validate_default=True)
    """Settings of a model of your own, as its class in `schema` says; None for the kinds that come along."""
    window: Annotated[int, Field(ge=1, le=250)] = 20
    """Look-back of a score in trading days, today included, in total over all layers."""
    hidden_size: Annotated[int, Field(ge=4, le=4096)] = 32
    """Width of all layers."""
    num_heads: Annotated[int, Field(ge=1, le=64)] = 4
    """Attention heads; must divide hidden_size."""
    num_layers: Annotated[int, Field(ge=1, le=16)] = 2
    """Layers of the encoder, one after another."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of a layer's outputs that is set to zero in training."""
    variable_selection: bool = True
    """Whether features are embedded one by one and weighed by a gate that sees all of them; else one linear map."""
    frequency_normalisation: bool = False
    """Whether dominant frequencies of each feature are taken out and scored on a path of their own."""
    num_neighbours: Annotated[int, Field(ge=0, le=256)] = 0
    """Neighbours of a stock in the graph attention across stocks; 0: no graph attention."""
    alpha: NonNegative = 1e-3
    """Ridge: penalty on the squared coefficients, times the number of samples; features have variance 1."""
    rounds_per_epoch: Annotated[int, Field(ge=1, le=10_000)] = 25
    """Trees that an epoch adds per horizon; with the default number of epochs LightGBM's own 100."""
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 31
    """Most leaves of a tree (LightGBM's default and range)."""
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Share of its output that a tree adds (LightGBM's default)."""
    min_data_in_leaf: Annotated[int, Field(ge=1)] = 20
    """Fewest stock-days in a leaf (LightGBM's default, made for data with less noise than returns have)."""
    feature_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the features that a tree may use, drawn anew for each (LightGBM's default)."""
    bagging_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the stock-days that a tree sees, drawn anew for each (LightGBM's default)."""
    lambda_l2: NonNegative = 0.0
    """Penalty on the squared outputs of leaves (LightGBM's default)."""

    @property
    def neighbours(self) -> int:
        """Neighbours of a stock in the graph that the model is given; 0: it is given none."""
        given = self if "num_neighbours" in knobs_of(self.kind) else self.own
        return int(getattr(given, "num_neighbours", 0))

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if imports.is_path(kind):
            _schema_of(kind)
        elif kind not in MODEL_KNOBS:
            raise ValueError(
                f"choose one of {', '.join(map(repr, MODEL_KNOBS))}, or name a class of your own as my_module:MyRanker"
                f"{nearest(kind, MODEL_KNOBS)}"
            )
        return kind

    @field_validator("own", mode="plain")
    @classmethod
    def _by_its_schema(cls, given: Any, info: ValidationInfo) -> BaseModel | None:
        kind = info.data.get("kind", "")
        return _own_settings(_schema_of(kind), given) if imports.is_path(kind) else None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "num_heads" in knobs_of(self.kind) and self.hidden_size % self.num_heads:
            raise ValueError(
                f"model.num_heads={self.num_heads} does not divide model.hidden_size={self.hidden_size}; "
                f"choose a divisor of {self.hidden_size}"
            )
        if self.kind == "atft_gat_fan" and self.window < 4:
            raise ValueError(f"model.window={self.window} is too short for atft_gat_fan; choose 4 or more")
        return self


@cache
def _schema_of(kind: str) -> type[BaseModel]:
    """The class of the settings of a model of the user's own. ValueError says what is wrong with the model."""
    try:
        found = imports.load(kind)
    except InputError as error:
        raise ValueError(str(error).removesuffix(".")) from None
    schema = getattr(found, "schema", None)
    if not (inspect.isclass(found) and inspect.isclass(schema) and issubclass(schema, BaseModel)):
        raise ValueError("it is no ranker; derive the class from trainer.models.Ranker, its `schema` a pydantic class")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise ValueError(f"the class {found.__name__} lacks the methods {', '.join(missing)}")
    try:
        schema()
    except ValidationError as error:
        raise ValueError(f"{schema.__name__} needs a default for every field: {first_problem(error)[1]}") from None
    return schema


def _own_settings(schema: type[BaseModel], given: Any) -> BaseModel:
    if isinstance(given, BaseModel):
        given = given.model_dump()
    if not isinstance(given, Mapping | None):
        raise ValueError(f"it must hold settings of {schema.__name__}, not a {type(given).__name__}")
    for name in given or ():
        if name not in schema.model_fields:
            raise ValueError(f"{schema.__name__} has no field '{name}'{nearest(str(name), schema.model_fields)}")
    try:
        return schema.model_validate(given or {})
    except ValidationError as error:
        place, problem = first_problem(error)
        raise ValueError(f"model.own.{problem}" if place else problem) from None
