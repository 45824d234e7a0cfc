"""Daily correlations between scores and forward returns, what a long-short portfolio earns, and their summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from trainer import imports
from trainer.errors import InputError, MissingMetricError
from trainer.metric_names import IC, LONG_SHORT, MIN_STOCKS, RANK_IC, MetricName, own_kind

Array: TypeAlias = torch.Tensor | NDArray[np.floating]

SHARE = 0.2
"""Share of a day's stocks that is held long, and the same that is held short."""


def average_ranks(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Ranks along dimension 1 among the valid entries, counted from 0, ties sharing their mean rank.

    values, valid: [D, S] or [D, S, H]. Entries that are not valid get a meaningless finite rank.
    """
    first, last = _tied(values, valid)
    return (first + last) / 2


def _tied(values: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first and last position, from 0, that an entry could have in the order along dimension 1: they differ where
    others tie with it."""
    ordered, order = values.masked_fill(~valid, torch.inf).sort(dim=1, stable=True)
    positions = torch.arange(values.shape[1], device=values.device).view(1, -1, *[1] * (values.dim() - 2))
    changes = ordered.diff(dim=1) != 0  # inf - inf is NaN, and NaN != 0: the invalid tail never forms a group
    edge = torch.ones_like(changes[:, :1])
    first = torch.where(torch.cat([edge, changes], dim=1), positions, 0).cummax(dim=1).values
    ends_here = torch.where(torch.cat([changes, edge], dim=1), positions, values.shape[1])
    last = ends_here.flip(1).cummin(dim=1).values.flip(1)
    one, other = (torch.empty_like(values).scatter_(1, order, ends.to(values.dtype)) for ends in (first, last))
    return one, other


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


def daily_long_short(scores: Array, returns: Array, min_stocks: int = MIN_STOCKS) -> torch.Tensor:
    """Mean forward return of the day's best SHARE of the scores less that of its worst, equally weighted, before costs.

    Shapes and missing values as in `daily_ic`; NaN too where the scores do not vary. Stocks that tie across the edge
    share the places that are left, so that their order decides nothing.
    """
    left, right, valid = _pairs(scores, returns)
    first, last = _tied(left, valid)
    count = valid.sum(dim=1, keepdim=True)
    held = (count * SHARE).floor().clamp(min=1)
    size = last - first + 1
    long = (last - (count - held) + 1).clamp(min=0).minimum(size) / size
    short = (held - first).clamp(min=0).minimum(size) / size
    earned = ((long - short) * right).masked_fill(~valid, 0.0).sum(dim=1) / held.squeeze(1)
    varies = (valid & (size < count)).any(dim=1)
    return torch.where(varies & (count.squeeze(1) >= min_stocks), earned, torch.nan)


def daily_series(
    scores: Array,
    targets: Mapping[str, Array],
    horizons: Sequence[int],
    min_stocks: int = MIN_STOCKS,
    own: str | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Daily RankIC by metric name (`rank_ic_5d`, `neutral_rank_ic_5d`, `lag1_rank_ic_5d`, ...), and on the forward
    returns IC and the long-short return (`ic_5d`, `long_short_5d`), each float32 [D].

    scores: [D, S, H]; targets: [D, S, H] each, keyed as `metric_names.TARGET_PREFIXES`, `raw` among them. own: import
    path of a metric of the user's, which is computed on the forward returns.
    """
    returns = targets["raw"]
    found = {(RANK_IC, name): daily_rank_ic(scores, target, min_stocks) for name, target in targets.items()}
    found[IC, "raw"] = daily_ic(scores, returns, min_stocks)
    found[LONG_SHORT, "raw"] = daily_long_short(scores, returns, min_stocks)
    if own is not None:
        found[str(own_kind(own)), "raw"] = _own_daily(own, scores, returns, min_stocks)
    series: dict[str, NDArray[np.float32]] = {}
    for (kind, name), daily in found.items():
        columns = daily.cpu().numpy()
        series |= {str(MetricName(kind, name, horizon)): columns[:, i] for i, horizon in enumerate(horizons)}
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
    """Scalars of daily series as `daily_series` names them.

    Gives, per series, its mean over days under its own name and, where it has a ratio (`MetricName.ratio`), mean over
    standard deviation, scaled; and of RankIC, IC and a metric of the user's the mean over horizons. What cannot be
    computed (no day; for a ratio fewer than two days or no variation; for the mean over horizons one of them missing)
    is left out rather than given a value.
    Raises MissingMetricError when `monitor` is among what was left out.
    """
    summary: dict[str, float] = {}
    families: dict[str, list[float]] = {}
    for name, values in daily.items():
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        parts = MetricName.parse(name)
        assert parts is not None, "a name of `daily_series`"
        if parts.has_mean:
            over_all = MetricName(parts.kind, parts.target)
            families.setdefault(str(over_all), []).append(float(finite.mean()) if finite.size else np.nan)
        if finite.size:
            summary[name] = float(finite.mean())
        deviation = float(finite.std(ddof=1)) if finite.size > 1 else 0.0
        ratio = parts.ratio
        if deviation > 0 and ratio is not None:
            summary[str(ratio)] = ratio.scale * float(finite.mean()) / deviation
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
