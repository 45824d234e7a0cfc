"""Finished trials of a small space, as a tier's study would hold them."""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.engine.parameters import distributions, to_params
from search_spaces import ChoiceDimension, Dimension, FloatDimension, Space, Tier, Value

RATE = FloatDimension(name="optim.lr", low=1e-4, high=1e-2, log=True, default=1e-3)
WIDTH = ChoiceDimension(name="model.hidden_size", choices=(16, 32, 64, 128), ordered=True, default=32)
DROPOUT = FloatDimension(name="model.dropout", low=0.0, high=0.4, default=0.1)
SPACE = Space("s", {}, (Tier("capacity", (RATE, WIDTH)), Tier("regularisation", (DROPOUT,))))


def trial(
    slot: int,
    score: float | None,
    state: TrialState = TrialState.COMPLETE,
    dimensions: tuple[Dimension, ...] = (RATE, WIDTH),
    curve: tuple[float, ...] = (),
    parameters: int | None = None,
    **changes: Value,
) -> FrozenTrial:
    """A finished trial. changes: `optim_lr=...` for the setting `optim.lr`."""
    values = {**SPACE.defaults(), **{name.replace("_", ".", 1): value for name, value in changes.items()}}
    attrs: dict[str, Any] = {"slot": slot, "values": values}
    if parameters is not None:
        attrs["num_parameters"] = parameters
    made = create_trial(
        state=state,
        value=score,
        params=to_params(dimensions, values),
        distributions=distributions(dimensions),
        user_attrs=attrs,
        intermediate_values=dict(enumerate(curve, start=1)),
    )
    made.number = slot - 1
    return made


def copied(one: FrozenTrial) -> FrozenTrial:
    one.user_attrs["copied_from"] = "c/1-capacity#0"
    return one
