"""Limits on what is measured of a trial: whatever its score, a trial that breaks one is not chosen."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from search_spaces.errors import SpaceError

NAME = re.compile(r"[A-Za-z][\w/]*")


@dataclass(frozen=True)
class Constraint:
    """at_most, at_least: the limits, None for one that there is not. name: of what is limited.

    Raises:
        SpaceError: a bad name, no limit, limits that are no numbers or leave nothing between them.
    """

    name: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.at_least, self.at_most) if limit is not None]
        if not NAME.fullmatch(self.name):
            raise SpaceError(f"constraints: '{self.name:.60}' is not the name of something measured")
        if not limits:
            raise SpaceError(f"constraints: {self.name} has no limit; give a number, or at_most or at_least")
        for limit in limits:
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit):
                raise SpaceError(f"constraints: {self.name}: a limit must be a number, not {limit!r}")
        if sorted(limits) != limits:
            raise SpaceError(
                f"constraints: {self.name}: at_least {limits[0]:g} is above at_most {limits[1]:g}, so that nothing "
                "keeps both"
            )

    def violation(self, value: float) -> float:
        """By how much a value breaks the limits, as a share of the broken one; zero or less where it keeps them."""
        over = [] if self.at_most is None else [(value - self.at_most) / (abs(self.at_most) or 1.0)]
        under = [] if self.at_least is None else [(self.at_least - value) / (abs(self.at_least) or 1.0)]
        return max(over + under)

    @property
    def shown(self) -> str:
        """`num_parameters at most 200,000`."""
        parts = [
            f"{word} {limit:,.10g}"
            for word, limit in (("at least", self.at_least), ("at most", self.at_most))
            if limit is not None
        ]
        return f"{self.name} {' and '.join(parts)}"
