"""Search spaces as plain data: tiers of dimensions, read from YAML. No torch, no numpy, no Optuna."""

from search_spaces.constraints import Constraint
from search_spaces.dimensions import (
    ChoiceDimension,
    Condition,
    Dimension,
    FloatDimension,
    IntegerDimension,
    Value,
)
from search_spaces.errors import SpaceError
from search_spaces.loading import catalog, dump_space, load_space, parse_space
from search_spaces.space import Space, Tier

__all__ = [
    "ChoiceDimension",
    "Condition",
    "Constraint",
    "Dimension",
    "FloatDimension",
    "IntegerDimension",
    "Space",
    "SpaceError",
    "Tier",
    "Value",
    "catalog",
    "dump_space",
    "load_space",
    "parse_space",
]
