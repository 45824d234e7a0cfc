"""Random walks with splits, dividends, listings and delistings, written in the shapes of files that are supported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

BARS = ("open", "high", "low", "close")


def walk(seed: int, days: int, stocks: int, known_until: int) -> pd.DataFrame:
    """Long format: `open ... volume` adjusted for splits and dividends, `plain_...` for splits alone, `raw_...` as
    traded, `delisting_return`, `sector`, `universe`.

    The price walks at random and takes no notice of dividends, so that whoever knew the later ones would earn them.
    known_until: no stock is listed later, and none is delisted before half of these days.
    """
    rng = np.random.default_rng(seed)
    shape = (days, stocks)
    returns = (0.02 * rng.standard_normal(shape) + 0.008 * rng.standard_normal((days, 1))).clip(-0.2, 0.2)
    yields = np.where(rng.random(shape) < 0.012, rng.uniform(0.03, 0.12, shape), 0.0)
    paid = np.vstack([np.ones((1, stocks)), np.cumprod(1 - yields[:0:-1], axis=0)])[::-1]
    close = rng.uniform(10, 100, stocks) * np.cumprod(1 + returns, axis=0)
    opened = close / (1 + returns) * (1 + 0.5 * returns + 0.003 * rng.standard_normal(shape))
    columns = {"open": opened, "close": close}
    columns["high"] = np.maximum(opened, close) * (1 + 0.008 * rng.random(shape))
    columns["low"] = np.minimum(opened, close) * (1 - 0.008 * rng.random(shape))
    columns["volume"] = np.exp(rng.normal(11, 0.7, shape))
    splits = np.where(rng.random(shape) < 0.004, rng.choice([1.5, 2.0, 3.0, 0.2], shape), 1.0)
    ahead = np.vstack([np.ones((1, stocks)), np.cumprod(splits[:0:-1], axis=0)])[::-1]
    for name in BARS:
        columns[f"raw_{name}"] = columns[name] * ahead
        columns[f"plain_{name}"] = columns[name]
        columns[name] = columns[name] * paid
    columns["raw_volume"] = columns["volume"] / ahead
    first = np.where(rng.random(stocks) < 0.25, rng.integers(0, known_until, stocks), 0)
    last = np.where(rng.random(stocks) < 0.25, rng.integers(known_until // 2, days, stocks), days)
    day = np.arange(days)[:, None]
    columns["delisting_return"] = np.where(day == last - 1, 0.3 * rng.standard_normal(stocks).clip(-3, 3), np.nan)
    rows = (day >= first) & (day < last) & (rng.random(shape) > 0.01)
    positions, numbers = np.nonzero(rows)
    keys = {
        "date": pd.bdate_range("2018-01-01", periods=days)[positions],
        "symbol": [f"S{number:02d}" for number in numbers],
        "sector": [
            f"sector {(number + position // 200) % 4}" for number, position in zip(numbers, positions, strict=True)
        ],
        "universe": [(number + position // 90) % 8 > 0 for number, position in zip(numbers, positions, strict=True)],
    }
    return pd.DataFrame(keys | {name: values[positions, numbers] for name, values in columns.items()})


SHAPES: Mapping[str, str] = {
    "adjusted": "open=open high=high low=low close=close volume=volume",
    "adjusted close": "open=raw_open high=raw_high low=raw_low close=raw_close adj_close=close volume=raw_volume",
    "dividends beside": "Open=plain_open High=plain_high Low=plain_low Close=plain_close AdjClose=close Volume=volume",
    "both": "Open=raw_open High=raw_high Low=raw_low Close=raw_close Volume=raw_volume AdjustmentOpen=open "
    "AdjustmentHigh=high AdjustmentLow=low AdjustmentClose=close AdjustmentVolume=volume",
    "delisting return": "open=open high=high low=low close=close volume=volume delisting_return=delisting_return",
    "sectors and universe": "open=open high=high low=low close=close volume=volume sector=sector universe=universe",
}
"""Name to the columns, `new=old` of `walk`."""

HALF = "open=plain_open high=plain_high low=plain_low close=close volume=volume"
"""Adjusted in part: knows the later dividends."""


def shaped(table: pd.DataFrame, names: str) -> pd.DataFrame:
    """The columns of a shape beside date and symbol."""
    pairs = [pair.split("=") for pair in names.split()]
    return table[["date", "symbol"]].assign(**{new: table[old] for new, old in pairs})


def as_parquet(table: pd.DataFrame, folder: Path) -> Path:
    """One Parquet file."""
    table.to_parquet(folder / "prices.parquet", index=False)
    return folder / "prices.parquet"


def as_csv(table: pd.DataFrame, folder: Path) -> Path:
    """One CSV file, newest first, months by name, prices in dollars."""
    written = table.sort_values("date", ascending=False)
    written = written.assign(date=written["date"].dt.strftime("%b %d, %Y"))
    prices = [name for name in written.columns if any(bar in name.lower() for bar in BARS)]
    written.assign(**{name: written[name].map("${:,.6f}".format) for name in prices}).to_csv(
        folder / "prices.csv", index=False
    )
    return folder / "prices.csv"


def as_fields(table: pd.DataFrame, folder: Path) -> Path:
    """A folder with a table for each column."""
    for name in table.columns[2:]:
        table.pivot(index="date", columns="symbol", values=name).to_csv(folder / f"{name}.csv")
    return folder


def as_stocks(table: pd.DataFrame, folder: Path) -> Path:
    """A folder with a file for each stock."""
    for symbol, rows in table.groupby("symbol"):
        rows.drop(columns="symbol").to_csv(folder / f"{symbol}.csv", index=False)
    return folder


FORMS: Mapping[str, Callable[[pd.DataFrame, Path], Path]] = {
    "parquet": as_parquet,
    "csv": as_csv,
    "fields": as_fields,
    "stocks": as_stocks,
}
"""Name to what writes a shaped table into an empty folder and tells where."""
