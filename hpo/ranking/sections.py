"""The champion on the holdout: RankIC by horizon, target and year, and what trading on its scores would have given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.charts.plots import Axis, Curves, bar_chart, column_chart, line_chart
from hpo.ranking.metrics import VARIANTS
from hpo.ranking.portfolio import NUM_DECILES, SHARE, PanelScores, decile_returns, long_short, sector_rank_ic
from hpo.report import words
from hpo.report.document import Block, Chart, Column, Fact, Section, Table
from hpo.report.evidence import CampaignEvidence, DailySeries, HoldoutEvidence
from hpo.report.findings import Findings
from hpo.report.statistics.blocks import newey_west_error
from hpo.report.statistics.intervals import information_ratio, mean_interval

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
        *[_cumulative(evidence, holdout, daily, prefix) for prefix in VARIANTS if _present(evidence, daily, prefix)],
        *_daily(evidence, findings, holdout, daily),
        _yearly(evidence, findings, holdout, daily),
    ]
    if holdout.details is not None:
        blocks += _trading(holdout, holdout.details)
    first, last = str(holdout.dates[0]), str(holdout.dates[-1])
    lead = f"On the holdout, {first} to {last}, {len(holdout.dates)} trading days that no trial process was ever given."
    if holdout.committee is not None:
        lead = f"{findings.deployed[0].upper()}{findings.deployed[1:]}. {lead}"
    return Section("champion", "The champion", lead, blocks)


def _present(evidence: CampaignEvidence, daily: DailySeries, prefix: str) -> list[int]:
    return [h for h in evidence.horizons if f"{prefix}rank_ic_{h}d" in daily]


def _days(dates: NDArray[np.datetime64]) -> list[float]:
    return [float(day) for day in dates.astype("datetime64[D]").astype(int)]


def _by_target(evidence: CampaignEvidence, holdout: HoldoutEvidence, daily: DailySeries) -> Table:
    rows: list[dict[str, Any]] = []
    for prefix, name in VARIANTS.items():
        for horizon in _present(evidence, daily, prefix):
            series = daily[f"{prefix}rank_ic_{horizon}d"]
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
        Column("rank_ic", "RankIC", words.score),
        Column("interval", "95 % interval", words.between),
        Column("t", "Newey–West t", lambda t: words.score(t, 1)),
        Column("icir", "ICIR", lambda r: words.score(r, 3)),
        Column("share", "days above 0", words.percent),
    ]
    note = "Executed at the close of the day, or at the next close: the difference is what a delay of one day costs."
    return Table("by_target", "RankIC by horizon and target", columns, rows, holdout.source, note)


def _cumulative(evidence: CampaignEvidence, holdout: HoldoutEvidence, daily: DailySeries, prefix: str) -> Chart:
    horizons = _present(evidence, daily, prefix)
    days = _days(holdout.dates)
    series = {h: _summed(daily[f"{prefix}rank_ic_{h}d"]) for h in horizons}
    curves = [
        Curves(
            f"{h} day{'s' if h > 1 else ''}", LOOKS[n % len(LOOKS)], [list(zip(days, series[h].tolist(), strict=True))]
        )
        for n, h in enumerate(horizons)
    ]
    title = f"Cumulative RankIC, {VARIANTS[prefix]}"
    svg = line_chart(
        title,
        "Sum of daily RankIC since the first day",
        Axis("", "date"),
        Axis("sum of daily RankIC"),
        curves,
        zero=True,
    )
    data = {"date": holdout.dates.astype(str).tolist(), **{str(h): series[h] for h in horizons}}
    return Chart(f"cumulative_{prefix or 'raw_'}rank_ic", title, svg, data, f"{holdout.source}, {prefix}rank_ic_*d")


def _summed(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """Running sum; NaN on days without a value, so that a line ends where the labels do."""
    return np.where(np.isfinite(series), np.nancumsum(series, dtype=np.float64), np.nan)


def _daily(evidence: CampaignEvidence, findings: Findings, holdout: HoldoutEvidence, daily: DailySeries) -> list[Chart]:
    """The objective and every horizon day by day, with rolling means, raw and style-neutral."""
    if len(holdout.dates) < ROLLING_DAYS:
        return []
    metrics = dict.fromkeys((findings.metric, *(f"rank_ic_{horizon}d" for horizon in evidence.horizons)))
    return [_day_by_day(holdout, daily, metric) for metric in metrics if metric in daily]


def _day_by_day(holdout: HoldoutEvidence, daily: DailySeries, metric: str) -> Chart:
    days, values = _days(holdout.dates), daily[metric].astype(np.float64)
    means = {f"mean of {ROLLING_DAYS} days": (_rolling(values), "accent thick")}
    neutral = daily.get(f"neutral_{metric}")
    if neutral is not None:
        means["the same, style-neutral"] = (_rolling(neutral.astype(np.float64)), "second")
    drawn = {"each day": (values, "muted faint"), **means}
    curves = [
        Curves(name, css, [list(zip(days, series.tolist(), strict=True))]) for name, (series, css) in drawn.items()
    ]
    title = f"Daily {metric}"
    svg = line_chart(title, "Day by day, and its rolling means", Axis("", "date"), Axis("RankIC"), curves, zero=True)
    data = {"date": holdout.dates.astype(str).tolist(), **{name: series for name, (series, _) in drawn.items()}}
    source = f"{holdout.source}, {metric}" + (f" and neutral_{metric}" if neutral is not None else "")
    return Chart(f"daily_{metric}", title, svg, data, source)


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
    metrics = [m for m in (findings.metric, *(f"rank_ic_{h}d" for h in evidence.horizons)) if m in daily]
    metrics = list(dict.fromkeys(metrics))
    rows = [
        {
            "year": str(year),
            "days": int((years == year).sum()),
            **{metric: _mean(daily[metric][years == year]) for metric in metrics},
            "error": newey_west_error(daily[metrics[0]][years == year], evidence.horizon_of(metrics[0])),
        }
        for year in np.unique(years)
    ]
    columns = [
        Column("year", "year", kind="text"),
        Column("days", "days"),
        *[Column(metric, metric, words.score) for metric in metrics],
        Column("error", f"standard error of {metrics[0]}", words.score),
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
        Curves(name, css, [list(zip(days, (100 * np.cumsum(series)).tolist(), strict=True))])
        for name, (series, css) in drawn.items()
    ]
    title = f"Long-short curve, {horizon}-day scores"
    method = (
        f"best and worst {words.percent(SHARE)} of the day's stocks, equal weights, held {horizon} days in "
        "overlapping parts"
    )
    svg = line_chart(title, method, Axis("", "date"), Axis("% of one side, summed"), curves, zero=True)
    return [
        Fact(
            "turnover",
            "turnover a day",
            float(now.turnover[horizon:].mean()),
            words.percent(float(now.turnover[horizon:].mean())),
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
            words.score(now.yearly_ratio(now.net), 2),
            f"{source}; {method}; {cost} a trade",
            f"before costs {words.score(now.yearly_ratio(now.gross), 2)}; "
            f"executed one day later {words.score(later.yearly_ratio(later.net), 2)}",
        ),
        Chart(
            "long_short",
            title,
            svg,
            {"date": scored.dates.astype(str).tolist(), "gross": now.gross, "net": now.net, "net_later": later.net},
            source,
            f"{method[0].upper()}{method[1:]}; each trade costs {cost} of its value. No borrowing costs, no impact.",
        ),
    ]


def _deciles(scored: PanelScores, horizon: int, source: str) -> Chart:
    position = scored.horizons.index(horizon)
    returns = 1e4 * decile_returns(scored.scores[:, :, position], scored.targets["raw"][:, :, position])
    title = f"{horizon}-day return by decile of the score"
    names = [str(n) for n in range(1, NUM_DECILES + 1)]
    svg = column_chart(
        title,
        "Mean forward return less the day's mean",
        "decile (10: best scores)",
        "basis points",
        names,
        returns.tolist(),
    )
    return Chart("deciles", title, svg, dict(zip(names, returns.tolist(), strict=True)), source)


def _sectors(scored: PanelScores, horizon: int, source: str) -> list[Chart]:
    means = {name: float(np.nanmean(daily)) for name, daily in sector_rank_ic(scored, horizon).items()}
    if len(means) < 2:
        return []
    ordered = dict(sorted(means.items(), key=lambda item: -item[1]))
    title = f"{horizon}-day RankIC within sectors"
    svg = bar_chart(
        title, "Mean daily RankIC among the stocks of a sector", "RankIC", list(ordered), list(ordered.values())
    )
    return [Chart("sectors", title, svg, ordered, source)]
