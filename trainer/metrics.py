"""Daily rank correlations between scores and forward returns, and their summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import imports
from trainer.errors import InputError, MissingMetricError
from trainer.metric_names import ICIR, MIN_STOCKS, RANK_IC, MetricName, own_kind

Array: TypeAlias = torch.Tensor | NDArray[np.floating]


def average_ranks(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Ranks along dimension 1 among the valid entries, counted from 0, ties sharing their mean rank.

    values, valid: [D, S] or [D, S, H]. Entries that are not valid get a meaningless finite rank.
    """
    ordered, order = values.masked_fill(~valid, torch.inf).sort(dim=1, stable=True)
    positions = torch.arange(values.shape[1], device=values.device).view(1, -1, *[1] * (values.dim() - 2))
    changes = ordered.diff(dim=1) != 0  # inf - inf is NaN, and NaN != 0: the invalid tail never forms a group
    edge = torch.ones_like(changes[:, :1])
    first = torch.where(torch.cat([edge, changes], dim=1), positions, 0).cummax(dim=1).values
    ends_here = torch.where(torch.cat([changes, edge], dim=1), positions, values.shape[1])
    last = ends_here.flip(1).cummin(dim=1).values.flip(1)
    return torch.empty_like(values).scatter_(1, order, (first + last).to(values.dtype) / 2)


def daily_ic(scores: Array, target: Array, min_stocks: int = MIN_STOCKS) -> torch.Tensor:
    """Pearson correlation across stocks, per day.

    scores, target: [D, S] or [D, S, H]; a pair counts where both are finite. Returns float32 [D] or [D, H], NaN where
    fewer than min_stocks pairs count or where one side does not vary.
    """
    left, right, valid = _pairs(scores, target)
    return _correlation(left, right, valid, min_stocks)


def daily_rank_ic(scores: Array, target: Array, min_stocks: int = MIN_STOCKS) -> torch.Tensor:
    """Spearman correlation across stocks, per day: the Pearson correlation of average ranks.

    Shapes and missing values as in `daily_ic`. Equals `scipy.stats.spearmanr` over the valid pairs of each day.
    """
    left, right, valid = _pairs(scores, target)
    # Ranks are divided by S to keep float32 sums of squares small; a correlation does not change.
    count = max(left.shape[1], 1)
    return _correlation(average_ranks(left, valid) / count, average_ranks(right, valid) / count, valid, min_stocks)


def daily_series(
    scores: Array,
    targets: Mapping[str, Array],
    horizons: Sequence[int],
    min_stocks: int = MIN_STOCKS,
    own: str | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Daily RankIC by metric name (`rank_ic_5d`, `neutral_rank_ic_5d`, `lag1_rank_ic_5d`, ...), each float32 [D].

    scores: [D, S, H]; targets: [D, S, H] each, keyed as `metric_names.TARGET_PREFIXES`. own: import path of a metric of
    the user's, which is computed on the forward returns.
    """
    series: dict[str, NDArray[np.float32]] = {}
    for name, target in targets.items():
        daily = daily_rank_ic(scores, target, min_stocks).cpu().numpy()
        for column, horizon in enumerate(horizons):
            series[str(MetricName(RANK_IC, name, horizon))] = daily[:, column]
    if own is not None:
        kind, daily = str(own_kind(own)), _own_daily(own, scores, targets["raw"], min_stocks).cpu().numpy()
        series |= {str(MetricName(kind, horizon=horizon)): daily[:, column] for column, horizon in enumerate(horizons)}
    return series


def check_own_metric(path: str | None) -> None:
    """Raise InputError where the user's own metric, if there is one, does not give a value per day and horizon."""
    if path is None:
        return
    random = torch.Generator().manual_seed(0)
    scores, returns = (torch.randn(4, 12, 3, generator=random) for _ in range(2))
    try:
        daily = imports.load(path)(scores, returns, torch.ones_like(scores, dtype=torch.bool))
        seen = f"gave the shape {list(daily.shape)}" if daily.shape != (4, 3) else ""
        seen = seen or ("" if torch.isfinite(daily).any() else "gave no finite value")
    except Exception as error:  # the user's code may raise anything
        seen = f"failed with {type(error).__name__}: {error}"
    if seen:
        raise InputError(
            f"train.own_metric={path} {seen}, on 4 days of 12 stocks with 3 horizons; return a tensor [D, H] with a "
            "value per day and horizon, NaN where a day has none."
        )


def summarise(daily: Mapping[str, NDArray[np.floating]], monitor: str | None = None) -> dict[str, float]:
    """Scalars of daily series named `[prefix]rank_ic_{h}d`, or as a metric of the user's.

    Gives, per series, its mean over days under its own name and, for a RankIC, mean / standard deviation as
    `[prefix]icir_{h}d`; and `[prefix]rank_ic`, the mean over horizons. What cannot be computed (no day; for an ICIR
    fewer than two days or no variation; for the mean over horizons one of them missing) is left out rather than given
    a value.
    Raises MissingMetricError when `monitor` is among what was left out.
    """
    summary: dict[str, float] = {}
    families: dict[str, list[float]] = {}
    for name, values in daily.items():
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        parts = MetricName.parse(name)
        assert parts is not None, "a name of `daily_series`"
        over_all, ratio = MetricName(parts.kind, parts.target), MetricName(ICIR, parts.target, parts.horizon)
        families.setdefault(str(over_all), []).append(float(finite.mean()) if finite.size else np.nan)
        if finite.size:
            summary[name] = float(finite.mean())
        deviation = float(finite.std(ddof=1)) if finite.size > 1 else 0.0
        if deviation > 0 and parts.kind == RANK_IC:
            summary[str(ratio)] = float(finite.mean()) / deviation
    summary |= {family: float(np.mean(means)) for family, means in families.items() if np.isfinite(means).all()}
    if monitor is not None and monitor not in summary:
        raise MissingMetricError(
            f"the monitored metric '{monitor}' could not be computed: no validation day has {MIN_STOCKS} valid stocks "
            f"with varying scores and labels; computed were {', '.join(sorted(summary)) or 'none'}"
        )
    return summary


def _own_daily(path: str, scores: Array, returns: Array, min_stocks: int) -> torch.Tensor:
    """The user's metric [D, H], NaN where fewer than min_stocks pairs count."""
    left, right, valid = _pairs(scores, returns)
    daily: torch.Tensor = imports.load(path)(left.masked_fill(~valid, 0.0), right.masked_fill(~valid, 0.0), valid)
    return torch.where(valid.sum(dim=1) >= min_stocks, daily.float(), torch.nan)


def _pairs(scores: Array, target: Array) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    left = torch.as_tensor(scores).detach().float()
    right = torch.as_tensor(target, device=left.device).float()
    if left.shape != right.shape:
        raise ValueError(f"scores {tuple(left.shape)} and target {tuple(right.shape)} differ in shape")
    return left, right, torch.isfinite(left) & torch.isfinite(right)


def _correlation(left: torch.Tensor, right: torch.Tensor, valid: torch.Tensor, min_stocks: int) -> torch.Tensor:
    count = valid.sum(dim=1)
    left = _centred(left, valid, count)
    right = _centred(right, valid, count)
    covariance = (left * right).sum(dim=1)
    correlation = covariance / (left.square().sum(dim=1) * right.square().sum(dim=1)).sqrt()
    # A side that does not vary is 0 / 0, which stays NaN.
    return torch.where(count >= min_stocks, correlation.clamp(-1.0, 1.0), torch.nan)


def _centred(values: torch.Tensor, valid: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    kept = values.masked_fill(~valid, 0.0)
    # The first valid value is taken off first, so that a constant row is exactly 0 after centring.
    origin = kept.gather(1, valid.to(torch.uint8).argmax(dim=1, keepdim=True))
    shifted = (kept - origin).masked_fill(~valid, 0.0)
    mean = shifted.sum(dim=1, keepdim=True) / count.clamp(min=1).unsqueeze(1)
    return (shifted - mean).masked_fill(~valid, 0.0)
