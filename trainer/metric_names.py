"""The names of the trainer's metrics: written and read here alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

RANK_IC, ICIR = "rank_ic", "icir"

MIN_STOCKS = 10
"""Fewest valid stocks for a day to be judged."""

TARGET_PREFIXES: Mapping[str, str] = {
    "raw": "",
    "neutral": "neutral_",
    "lag1": "lag1_",
    "neutral_lag1": "neutral_lag1_",
}
"""Prefix of a metric's name by the target it is computed on."""

_FORM = re.compile(rf"(neutral_)?(lag1_)?({RANK_IC}|{ICIR})(?:_(\d+)d)?")
_OWN = re.compile(rf"(?!\w*(?:{RANK_IC}|{ICIR})_\d+d)(\w+)_(\d+)d")


@dataclass(frozen=True)
class MetricName:
    """`neutral_rank_ic_5d` in its parts. kind: RANK_IC, ICIR or the name of a metric of the user's own. target: a key
    of TARGET_PREFIXES. horizon: in trading days; None for the mean over all of a run's, which an ICIR has not."""

    kind: str
    target: str = "raw"
    horizon: int | None = None

    def __str__(self) -> str:
        return f"{TARGET_PREFIXES[self.target]}{self.kind}" + (f"_{self.horizon}d" if self.horizon else "")

    @classmethod
    def parse(cls, name: str) -> MetricName | None:
        """The inverse of `str`; None for a name that is none of these, and for a user's own without a horizon."""
        found = _FORM.fullmatch(name)
        if found is None:
            own = _OWN.fullmatch(name)
            return cls(own[1], "raw", int(own[2])) if own else None
        prefix, horizon = (found[1] or "") + (found[2] or ""), found[4]
        target = next(target for target, own in TARGET_PREFIXES.items() if own == prefix)
        return cls(found[3], target, int(horizon) if horizon else None)


def own_kind(path: str | None) -> str | None:
    """What the metric at an import path is called: by the name of its function."""
    return None if path is None else path.partition(":")[2]


def metric_names(horizons: Sequence[int], own: str | None = None) -> Iterator[MetricName]:
    """All that validation produces: for each target the mean over horizons, then both kinds for each horizon; the same
    of the user's own metric, if there is one, on the forward returns. own: its name."""
    for target in TARGET_PREFIXES:
        yield MetricName(RANK_IC, target)
        for horizon in horizons:
            yield MetricName(RANK_IC, target, horizon)
            yield MetricName(ICIR, target, horizon)
    if own is not None:
        yield MetricName(own)
        yield from (MetricName(own, horizon=horizon) for horizon in horizons)
