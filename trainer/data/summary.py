"""What was recognised in a source and what was made of it: figures for machines, and the same in lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config import DataConfig
from trainer.data.features import usable
from trainer.data.market import Market
from trainer.data.rolling import shift
from trainer.data.splits import Split
from trainer.data.targets import raw_targets

SHOWN = 8


def describe(
    market: Market, mask: NDArray[np.bool_], names: Sequence[str], config: DataConfig, split: Split
) -> dict[str, Any]:
    """Plain JSON values. mask: bool [D, S], the usable stock-days; names: of the features that were made."""

    def span(days: range) -> dict[str, Any]:
        return {"from": str(market.dates[days.start]), "to": str(market.dates[days.stop - 1]), "days": len(days)}

    a_day = mask.sum(axis=1)
    return {
        "source": market.name,
        "first_day": str(market.dates[0]),
        "last_day": str(market.dates[-1]),
        "days": len(market.dates),
        "stocks": len(market.symbols),
        "rows": int(market.rows.sum()),
        "stock_days": int(mask.sum()),
        "stocks_a_day": {"fewest": int(a_day.min()), "median": int(np.median(a_day)), "most": int(a_day.max())},
        "masked": _masked(market, mask, config),
        "features": len(names),
        "feature_names": list(names),
        "sectors": len(market.sector_names),
        "rows_without_sector": int((market.rows & (market.sectors < 0)).sum()) if market.sector_names else 0,
        "labels": {f"{horizon}d": _labels(market, mask, horizon) for horizon in config.horizons},
        "gap": split.gap,
        "folds": [{"train": span(fold.train), "valid": span(fold.valid)} for fold in split.folds],
        "holdout": span(split.holdout),
        "recognised": list(market.recognised),
    }


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """What `describe` found, a line each; none for a market that was made here, of which all is known."""
    if not summary["recognised"]:
        return []
    a_day, names = summary["stocks_a_day"], summary["feature_names"]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    without = summary["rows_without_sector"]
    group = f" and {without:,} rows without one, which form a group of their own" if without else ""
    lines = [f"Data      {summary['source']}"]
    lines += [f"Columns   {line}" for line in summary["recognised"]]
    lines += [
        f"Days      {summary['days']:,} from {summary['first_day']} to {summary['last_day']}",
        f"Stocks    {summary['stocks']:,}, {summary['sectors']} sectors{group}; usable on a day: {a_day['median']:,} "
        f"in the median, {a_day['fewest']:,} to {a_day['most']:,}",
        f"Rows      {summary['rows']:,}, of which {summary['stock_days']:,} are usable" + _list(summary["masked"]),
        f"Features  {len(names)}: {shown}",
    ]
    for name, counts in summary["labels"].items():
        lines.append(
            f"Labels    {name}: {counts['labels']:,}, {counts['early']:,} of which end at an earlier close, as the "
            f"stock had none on the last day; {counts['missing']:,} usable stock-days have none"
        )
    return [*lines, *split_lines(summary)]


def split_lines(summary: Mapping[str, Any]) -> list[str]:
    """The days of each part and the gaps between them, a line per fold and one for the holdout."""
    lines = []
    for number, fold in enumerate(summary["folds"], start=1):
        which = f" fold {number}," if len(summary["folds"]) > 1 else ""
        lines.append(f"Split    {which} train {_span(fold['train'])}, validation {_span(fold['valid'])}")
    lines.append(f"Split     holdout {_span(summary['holdout'])}; {summary['gap']} trading days between the parts")
    return lines


def _masked(market: Market, mask: NDArray[np.bool_], config: DataConfig) -> dict[str, int]:
    """How many rows are not usable, by the first reason that holds."""
    left, found = market.rows.copy(), {}
    outside = market.read("universe") <= 0 if "universe" in market.columns else np.zeros_like(left)
    priced = np.isfinite(market.read("close")) if "close" in market.columns else np.ones_like(left)
    cheap = usable(market, 0.0) & ~usable(market, config.min_price) if config.min_price else np.zeros_like(left)
    for reason, which in (
        ("outside the universe", outside),
        ("without a close", ~priced),
        (f"below data.min_price={config.min_price:g}", cheap),
        ("with too short a history", ~mask),
    ):
        found[reason] = int((left & which).sum())
        left &= ~which
    return {reason: count for reason, count in found.items() if count}


def _labels(market: Market, mask: NDArray[np.bool_], horizon: int) -> dict[str, int]:
    """Numbers of labels, of those that end at an earlier close than the horizon's, and of usable days without one."""
    known = np.isfinite(raw_targets(market, (horizon,))[..., 0]) & mask
    early = 0
    if "close" in market.columns and f"target_{horizon}d" not in market.columns:
        early = int((known & ~np.isfinite(shift(market.read("close"), -horizon))).sum())
    return {"labels": int(known.sum()), "early": early, "missing": int(mask.sum() - known.sum())}


def _span(days: Mapping[str, Any]) -> str:
    return f"{days['from']} to {days['to']} ({days['days']:,} days)"


def _list(counts: Mapping[str, int]) -> str:
    return "; not usable: " + ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) if counts else ""
