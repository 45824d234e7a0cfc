"""The ranker's metrics: what they are called, and the series that follow from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hpo.domain.metric import Metric
from trainer.metric_names import IC, ICIR, LONG_SHORT, RANK_IC, SHARPE, MetricName, metric_names, own_kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = {RANK_IC: "RankIC", ICIR: "ICIR", IC: "IC", SHARPE: "long-short Sharpe", LONG_SHORT: "long-short return"}

TARGETS = {
    "raw": "raw",
    "neutral": "style-neutral",
    "lag1": "raw, executed one day later",
    "neutral_lag1": "style-neutral, executed one day later",
}
"""Target of a metric -> what the scores are compared with."""

AT_ONCE = ("raw", "neutral")
"""Targets entered at the close of the day itself."""


BELIEVABLE = {RANK_IC: 0.25, IC: 0.25, ICIR: 2.5}
"""Kind of metric -> the highest validation score that real data may give. RankICs of .03 to .08 are good."""


def doubt(metric: str, score: float) -> str:
    """Why a score is beyond belief, empty where it is not."""
    name = MetricName.parse(metric)
    limit = BELIEVABLE.get(name.kind, float("inf")) if name else float("inf")
    if name is None or abs(score) <= limit:
        return ""
    return (
        f"Beyond belief: the best {_label(name)} is {score:.2f}, where real data give less than {limit:g}. "
        "Something in the data is known only later: look at the data's warnings and at the newest features first."
    )


def metrics_of(horizons: Sequence[int], own: str | None = None) -> tuple[Metric, ...]:
    """Everything a campaign may maximise; RankIC over all horizons first. own: import path of the user's metric."""
    return tuple(_metric(name, horizons) for name in metric_names(horizons, own_kind(own)))


def _label(name: MetricName) -> str:
    days = "" if name.horizon is None else f", {name.horizon} day{'s' if name.horizon > 1 else ''}"
    compared = "" if name.target == "raw" else f", {TARGETS[name.target]}"
    return f"{KINDS.get(name.kind, name.kind)}{days}{compared}"


def _metric(name: MetricName, horizons: Sequence[int]) -> Metric:
    return Metric(
        str(name),
        _label(name),
        overlap=name.horizon or max(horizons),
        no_skill=0.0 if name.kind in KINDS else None,
        horizon=name.horizon,
        headline=name.kind == RANK_IC and name.target in AT_ONCE,
    )


def with_derived(daily: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Daily metrics by horizon, with their mean over horizons on each day that has them all, and the ratio of each that
    has one."""
    import numpy as np

    families: dict[str, list[NDArray[np.float32]]] = {}
    found = dict(daily)
    for name, series in daily.items():
        parts = MetricName.parse(name)
        if parts is None:
            continue
        if parts.has_mean:
            families.setdefault(str(MetricName(parts.kind, parts.target)), []).append(series)
        if parts.ratio is not None:
            found[str(parts.ratio)] = np.float32(parts.ratio.scale) * ratio_series(series)
    means = {name: np.mean(np.stack(members), axis=0, dtype=np.float32) for name, members in families.items()}
    return {**found, **{name: np.asarray(mean) for name, mean in means.items()}}


def ratio_series(series: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each day adds to the mean over the standard deviation: the mean of these values is the ratio itself, and
    their scatter is that of its estimate (its influence function). NaN where the series does not vary."""
    import numpy as np

    values = np.asarray(series, dtype=np.float64)
    finite = values[np.isfinite(values)]
    deviation = float(finite.std(ddof=1)) if finite.size > 1 else 0.0
    if deviation == 0:
        return np.full(len(values), np.nan, np.float32)
    ratio, scaled = finite.mean() / deviation, (values - finite.mean()) / deviation
    squares = scaled**2
    return np.asarray(ratio + scaled - ratio / 2 * (squares - np.nanmean(squares)), dtype=np.float32)
