"""The names of the trainer's metrics: written and read here alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

RANK_IC, ICIR = "rank_ic", "icir"
IC = "ic"
"""Pearson correlation across the stocks of a day."""
LONG_SHORT, SHARPE = "long_short", "long_short_sharpe"
"""Mean return of the day's best fifth of the scores less that of its worst, and its annualised Sharpe ratio."""
RATIOS: Mapping[str, str] = {RANK_IC: ICIR, LONG_SHORT: SHARPE}
"""Kind of a daily series -> kind of its mean over its standard deviation."""
TRADING_DAYS = 252
"""Of a year."""

MIN_STOCKS = 10
"""Fewest valid stocks for a day to be judged."""

TARGET_PREFIXES: Mapping[str, str] = {
    "raw": "",
    "neutral": "neutral_",
    "lag1": "lag1_",
    "neutral_lag1": "neutral_lag1_",
}
"""Prefix of a metric's name by the target it is computed on."""

_FORM = re.compile(rf"(neutral_)?(lag1_)?({RANK_IC}|{ICIR}|{IC}|{SHARPE}|{LONG_SHORT})(?:_(\d+)d)?")
_OWN = re.compile(rf"(?!\w*(?:{RANK_IC}|{ICIR})_\d+d)(\w+)_(\d+)d")


@dataclass(frozen=True)
class MetricName:
    """`neutral_rank_ic_5d` in its parts. kind: RANK_IC, ICIR, IC, LONG_SHORT, SHARPE or the name of a metric of the
    user's own. target: a key of TARGET_PREFIXES. horizon: in trading days; None for the mean over all of a run's, where
    `has_mean`."""

    kind: str
    target: str = "raw"
    horizon: int | None = None

    def __str__(self) -> str:
        return f"{TARGET_PREFIXES[self.target]}{self.kind}" + (f"_{self.horizon}d" if self.horizon else "")

    @property
    def has_mean(self) -> bool:
        """Whether a mean over horizons says something: not of ratios, nor of returns over different numbers of days."""
        return self.kind not in (*RATIOS.values(), LONG_SHORT)

    @property
    def ratio(self) -> MetricName | None:
        """The mean over the standard deviation of this daily series; None where that has no name."""
        return replace(self, kind=RATIOS[self.kind]) if self.kind in RATIOS else None

    @property
    def scale(self) -> float:
        """What a ratio's mean over standard deviation is multiplied by: a Sharpe ratio is that of a year of returns
        over the horizon's days that do not overlap."""
        return (TRADING_DAYS / self.horizon) ** 0.5 if self.kind == SHARPE and self.horizon else 1.0

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
    """All that validation produces: for each target the mean RankIC over horizons, then RankIC and ICIR for each
    horizon; on the forward returns IC, the long-short return and its Sharpe ratio, and the user's own metric, if there
    is one. own: its name."""
    for target in TARGET_PREFIXES:
        yield MetricName(RANK_IC, target)
        for horizon in horizons:
            yield MetricName(RANK_IC, target, horizon)
            yield MetricName(ICIR, target, horizon)
    yield MetricName(IC)
    for horizon in horizons:
        yield from (MetricName(kind, horizon=horizon) for kind in (IC, SHARPE, LONG_SHORT))
    if own is not None:
        yield MetricName(own)
        yield from (MetricName(own, horizon=horizon) for horizon in horizons)
