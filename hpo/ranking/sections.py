"""The champion on the holdout: RankIC by horizon, target and year, and what trading on its scores would have given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.charts.axes import Axis
from hpo.charts.bars import bar_chart, column_chart
from hpo.charts.plots import Series, line_chart
from hpo.domain.metric import Metric
from hpo.ranking.curves import champions_training
from hpo.ranking.metrics import TARGETS
from hpo.ranking.portfolio import NUM_DECILES, SHARE, PanelScores, decile_returns, long_short, sector_rank_ic
from hpo.report import formatting
from hpo.report.document import Block, Chart, Column, Fact, Section, Table
from hpo.report.evidence import CampaignEvidence, DailySeries, HoldoutEvidence
from hpo.report.findings import Findings
from hpo.report.statistics.dependence import newey_west_error
from hpo.report.statistics.intervals import information_ratio, mean_interval
from trainer.metric_names import RANK_IC, MetricName

LOOKS = ("accent", "second dashed", "third", "fourth dashed")

ROLLING_DAYS = 60


def build(evidence: CampaignEvidence, findings: Findings) -> Section | None:
    """The section; None where the champion was not scored on the holdout."""
    holdout = evidence.holdout
    daily = evidence.deployed
    if holdout is None or findings.champion is None or daily is None:
        return None
    blocks: list[Block] = [
        _by_target(evidence, holdout, daily),
        *[_cumulative(evidence, holdout, daily, target) for target in TARGETS if _present(evidence, daily, target)],
        *_daily(evidence, findings, holdout, daily),
        _yearly(evidence, findings, holdout, daily),
    ]
    if holdout.details is not None:
        blocks += _trading(holdout, holdout.details)
    blocks.append(champions_training(findings.champion))
    first, last = str(holdout.dates[0]), str(holdout.dates[-1])
    lead = f"On the holdout, {first} to {last}, {len(holdout.dates)} trading days that no trial process was ever given."
    if holdout.committee is not None:
        lead = f"{findings.deployed[0].upper()}{findings.deployed[1:]}. {lead}"
    return Section("champion", "The champion", lead, blocks)


def _present(evidence: CampaignEvidence, daily: DailySeries, target: str) -> dict[int, NDArray[np.float32]]:
    """Horizon -> daily RankIC on the target."""
    horizons = dict.fromkeys(metric.horizon for metric in evidence.metrics if metric.horizon is not None)
    named = {horizon: str(MetricName(RANK_IC, target, horizon)) for horizon in horizons}
    return {horizon: daily[name] for horizon, name in named.items() if name in daily}


def _days(dates: NDArray[np.datetime64]) -> list[float]:
    return [float(day) for day in dates.astype("datetime64[D]").astype(int)]


def _by_target(evidence: CampaignEvidence, holdout: HoldoutEvidence, daily: DailySeries) -> Table:
    rows: list[dict[str, Any]] = []
    for target, name in TARGETS.items():
        for horizon, series in _present(evidence, daily, target).items():
            interval = mean_interval(series, horizon)
            error = newey_west_error(series, horizon)
            mean = float(np.nanmean(series))
            rows.append(
                {
                    "target": name,
                    "horizon": horizon,
                    "rank_ic": mean,
                    "interval": interval,
                    "t": mean / error if error > 0 else None,
                    "icir": information_ratio(series),
                    "share": float((series > 0).sum() / np.isfinite(series).sum()),
                }
            )
    columns = [
        Column("target", "compared with", kind="text"),
        Column("horizon", "days"),
        Column("rank_ic", "RankIC", formatting.score),
        Column("interval", "95 % interval", formatting.between),
        Column("t", "Newey–West t", lambda t: formatting.score(t, 1)),
        Column("icir", "ICIR", lambda r: formatting.score(r, 3)),
        Column("share", "days above 0", formatting.percent),
    ]
    note = "Executed at the close of the day, or at the next close: the difference is what a delay of one day costs."
    return Table("by_target", "RankIC by horizon and target", columns, rows, holdout.source, note)


def _cumulative(evidence: CampaignEvidence, holdout: HoldoutEvidence, daily: DailySeries, target: str) -> Chart:
    days = _days(holdout.dates)
    series = {horizon: _summed(values) for horizon, values in _present(evidence, daily, target).items()}
    curves = [
        Series(
            f"{h} day{'s' if h > 1 else ''}", LOOKS[n % len(LOOKS)], list(zip(days, series[h].tolist(), strict=True))
        )
        for n, h in enumerate(series)
    ]
    title = f"Cumulative RankIC, {TARGETS[target]}"
    spec = line_chart(
        "Sum of daily RankIC since the first day",
        Axis("", "date"),
        Axis("sum of daily RankIC"),
        curves,
        zero=True,
    )
    data = {"date": holdout.dates.astype(str).tolist(), **{str(h): summed for h, summed in series.items()}}
    source = f"{holdout.source}, {MetricName(RANK_IC, target)} by horizon"
    return Chart(f"cumulative_{target}_{RANK_IC}", title, spec, data, source, is_key=target == "raw")


def _summed(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """Running sum; NaN on days without a value, so that a line ends where the labels do."""
    return np.where(np.isfinite(series), np.nancumsum(series, dtype=np.float64), np.nan)


def _daily(evidence: CampaignEvidence, findings: Findings, holdout: HoldoutEvidence, daily: DailySeries) -> list[Chart]:
    """The objective and every horizon day by day, with rolling means, raw and style-neutral."""
    if len(holdout.dates) < ROLLING_DAYS:
        return []
    return [_day_by_day(holdout, daily, metric) for metric in _by_day(evidence, findings, daily)]


def _by_day(evidence: CampaignEvidence, findings: Findings, daily: DailySeries) -> list[Metric]:
    """RankIC, whose value on a day says something by itself: the objective if it is one, and raw by horizon."""

    def is_shown(metric: Metric) -> bool:
        name = MetricName.parse(metric.name)
        if name is None or name.kind != RANK_IC or metric.name not in daily:
            return False
        return (name.target == "raw" and name.horizon is not None) or metric == findings.metric

    return sorted(filter(is_shown, evidence.metrics), key=lambda metric: metric != findings.metric)


def _day_by_day(holdout: HoldoutEvidence, daily: DailySeries, metric: Metric) -> Chart:
    days, values = _days(holdout.dates), daily[metric.name].astype(np.float64)
    means = {f"mean of {ROLLING_DAYS} days": (_rolling(values), "accent thick")}
    name = MetricName.parse(metric.name)
    beside = replace(name, target="neutral") if name is not None and name.target == "raw" else None
    neutral = daily.get(str(beside))
    if neutral is not None:
        means["the same, style-neutral"] = (_rolling(neutral.astype(np.float64)), "second")
    drawn = {"each day": (values, "muted faint"), **means}
    curves = [
        Series(name, look, list(zip(days, series.tolist(), strict=True))) for name, (series, look) in drawn.items()
    ]
    title = f"Daily {metric.shown}"
    spec = line_chart("Day by day, and its rolling means", Axis("", "date"), Axis("RankIC"), curves, zero=True)
    data = {"date": holdout.dates.astype(str).tolist(), **{name: series for name, (series, _) in drawn.items()}}
    source = f"{holdout.source}, {metric.name}" + (f" and {beside}" if neutral is not None else "")
    return Chart(f"daily_{metric.name}", title, spec, data, source)


def _rolling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the last ROLLING_DAYS days, those without a value left out; NaN before there are as many."""
    sums, counts = np.nancumsum(values), np.cumsum(np.isfinite(values))
    rolling = np.full(len(values), np.nan)
    width = np.maximum(counts[ROLLING_DAYS:] - counts[:-ROLLING_DAYS], 1)
    rolling[ROLLING_DAYS:] = (sums[ROLLING_DAYS:] - sums[:-ROLLING_DAYS]) / width
    rolling[~np.isfinite(values)] = np.nan
    return rolling


def _yearly(evidence: CampaignEvidence, findings: Findings, holdout: HoldoutEvidence, daily: DailySeries) -> Table:
    years = holdout.dates.astype("datetime64[Y]").astype(int) + 1970
    metrics = _by_day(evidence, findings, daily)
    first = metrics[0]
    rows = [
        {
            "year": str(year),
            "days": int((years == year).sum()),
            **{metric.name: _mean(daily[metric.name][years == year]) for metric in metrics},
            "error": newey_west_error(daily[first.name][years == year], first.overlap),
        }
        for year in np.unique(years)
    ]
    columns = [
        Column("year", "year", kind="text"),
        Column("days", "days"),
        *[Column(metric.name, metric.shown, formatting.score) for metric in metrics],
        Column("error", f"standard error of {first.shown}", formatting.score),
    ]
    return Table("yearly", "By year", columns, rows, holdout.source)


def _mean(series: NDArray[np.float32]) -> float | None:
    return float(np.nanmean(series)) if np.isfinite(series).any() else None


def _trading(holdout: HoldoutEvidence, scored: PanelScores) -> list[Block]:
    """Deciles, sectors and the long-short curve, for the horizon traded: the longest up to five days."""
    horizon = max((h for h in scored.horizons if h <= 5), default=min(scored.horizons))
    source = f"{holdout.source}, scores, {horizon} days"
    return [
        *_long_short(holdout, scored, horizon, source),
        _deciles(scored, horizon, source),
        *_sectors(scored, horizon, source),
    ]


def _long_short(holdout: HoldoutEvidence, scored: PanelScores, horizon: int, source: str) -> Sequence[Block]:
    now, later = long_short(scored, horizon), long_short(scored, horizon, lag=1)
    cost = f"{now.cost * 1e4:.0f} basis points"
    days = _days(holdout.dates)
    drawn = {
        "before costs": (now.gross, "muted dashed"),
        f"net of {cost}": (now.net, "accent thick"),
        "net, executed one day later": (later.net, "second"),
    }
    curves = [
        Series(name, look, list(zip(days, (100 * np.cumsum(series)).tolist(), strict=True)))
        for name, (series, look) in drawn.items()
    ]
    title = f"Long-short curve, {horizon}-day scores"
    method = (
        f"best and worst {formatting.percent(SHARE)} of the day's stocks, equal weights, held {horizon} days in "
        "overlapping parts"
    )
    spec = line_chart(method, Axis("", "date"), Axis("% of one side, summed"), curves, zero=True)
    return [
        Fact(
            "turnover",
            "turnover a day",
            float(now.turnover[horizon:].mean()),
            formatting.percent(float(now.turnover[horizon:].mean())),
            f"{source}; {method}",
            "100 % is a complete exchange of the portfolio",
        ),
        Fact(
            "sharpe_net",
            "annualised net Sharpe ratio",
            {
                "net": now.yearly_ratio(now.net),
                "gross": now.yearly_ratio(now.gross),
                "later": later.yearly_ratio(later.net),
            },
            formatting.score(now.yearly_ratio(now.net), 2),
            f"{source}; {method}; {cost} a trade",
            f"before costs {formatting.score(now.yearly_ratio(now.gross), 2)}; "
            f"executed one day later {formatting.score(later.yearly_ratio(later.net), 2)}",
        ),
        Chart(
            "long_short",
            title,
            spec,
            {"date": scored.dates.astype(str).tolist(), "gross": now.gross, "net": now.net, "net_later": later.net},
            source,
            f"{method[0].upper()}{method[1:]}; each trade costs {cost} of its value. No borrowing costs, no impact.",
            is_key=True,
        ),
    ]


def _deciles(scored: PanelScores, horizon: int, source: str) -> Chart:
    position = scored.horizons.index(horizon)
    returns = 1e4 * decile_returns(scored.scores[:, :, position], scored.targets["raw"][:, :, position])
    title = f"{horizon}-day return by decile of the score"
    names = [str(n) for n in range(1, NUM_DECILES + 1)]
    spec = column_chart(
        "Mean forward return less the day's mean",
        "decile (10: best scores)",
        "basis points",
        names,
        returns.tolist(),
    )
    data = dict(zip(names, returns.tolist(), strict=True))
    return Chart("deciles", title, spec, data, source, is_key=True)


def _sectors(scored: PanelScores, horizon: int, source: str) -> list[Chart]:
    means = {name: float(np.nanmean(daily)) for name, daily in sector_rank_ic(scored, horizon).items()}
    if len(means) < 2:
        return []
    ordered = dict(sorted(means.items(), key=lambda item: -item[1]))
    title = f"{horizon}-day RankIC within sectors"
    spec = bar_chart("Mean daily RankIC among the stocks of a sector", "RankIC", list(ordered), list(ordered.values()))
    return [Chart("sectors", title, spec, ordered, source)]
