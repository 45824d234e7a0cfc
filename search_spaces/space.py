"""Tiers and spaces: what is searched, in which order, and what is held meanwhile."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

from search_spaces.conditions import branches, check_conditions
from search_spaces.constraints import Constraint
from search_spaces.dimensions import DOTTED_NAME, Dimension, Value
from search_spaces.errors import SpaceError

MAX_NAME = 40
"""Most letters of a tier's name, which becomes part of the names of studies, runs and files."""


@dataclass(frozen=True)
class Tier:
    """A group of dimensions that are tuned together. name: a plain word; it becomes part of a study's name.

    Raises:
        SpaceError: a bad name, no dimension, a dimension twice.
    """

    name: str
    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", self.name):
            raise SpaceError(
                f"tier {self.name!r:.60}: a tier's name is a word of lower-case letters, digits, '_' and '-'"
            )
        if len(self.name) > MAX_NAME:
            raise SpaceError(
                f"tier '{self.name[:MAX_NAME]}...': a tier's name has at most {MAX_NAME} letters; shorten it"
            )
        if self.name == "refinement":
            raise SpaceError("tier 'refinement': this name belongs to the last, joint part of every search; rename it")
        if not self.dimensions:
            raise SpaceError(f"tier '{self.name}' is empty; give it at least one dimension or remove it")


@dataclass(frozen=True)
class Space:
    """A named search space.

    settings: dotted trainer setting -> the value every trial is given. tiers: most important first. constraints: what
    a trial must keep to be chosen.

    Raises:
        SpaceError: no tier, a name twice, a dimension that is also held, a condition that cannot be asked.
    """

    name: str
    settings: Mapping[str, Value]
    tiers: tuple[Tier, ...]
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        if not self.tiers:
            raise SpaceError("a space needs at least one tier")
        _refuse_repeats("tier", [tier.name for tier in self.tiers])
        names = [dimension.name for dimension in self.dimensions]
        _refuse_repeats("dimension", names)
        _refuse_repeats("constraint", [constraint.name for constraint in self.constraints])
        for key in self.settings:
            if not DOTTED_NAME.fullmatch(key):
                raise SpaceError(f"settings: '{key}' is not the name of a setting, such as 'rate' or 'optim.lr'")
            if key in names:
                raise SpaceError(f"settings: '{key}' is searched as a dimension too; keep one of the two")
        check_conditions({tier.name: tier.dimensions for tier in self.tiers})

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All dimensions, in the order of their tiers."""
        return tuple(dimension for tier in self.tiers for dimension in tier.dimensions)

    def defaults(self) -> dict[str, Value]:
        """Dotted setting -> default of every dimension that exists among the defaults: the configuration of the first
        trial."""
        return self.configuration({})

    def configuration(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The values of the dimensions that exist under them, in the order of the tiers. What values lack is at its
        default; what they have of dimensions that do not exist is left out."""
        found: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.exists_in(found):
                found[dimension.name] = values.get(dimension.name, dimension.default)
        return found

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the dimensions that conditions name, in order."""
        named = {condition.parent for dimension in self.dimensions for condition in dimension.when}
        return tuple(dimension.name for dimension in self.dimensions if dimension.name in named)

    def branches(self, dimension: Dimension) -> tuple[dict[str, Value], ...]:
        """The choices under which a dimension exists (see `search_spaces.conditions.branches`)."""
        return branches(dimension, {each.name: each for each in self.dimensions})

    def fingerprint(self) -> str:
        """Hex digest of everything that matters to a search: settings, tiers, dimensions, constraints. The space's name
        does not."""
        tiers = [
            {"name": tier.name, "dimensions": [{"type": type(d).__name__, **asdict(d)} for d in tier.dimensions]}
            for tier in self.tiers
        ]
        constraints = [asdict(constraint) for constraint in self.constraints]
        text = json.dumps({"settings": dict(self.settings), "tiers": tiers, "constraints": constraints}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise SpaceError(f"{what} '{name}' appears twice; a {what} belongs to one place only")
