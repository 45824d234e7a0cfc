"""Small markets in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def bars() -> Callable[..., pd.DataFrame]:
    """Makes random daily bars in long format, one row per date and symbol, sorted by symbol and date."""

    def make(days: int = 120, stocks: int = 14, seed: int = 0, sectors: int = 0) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        dates = pd.bdate_range("2020-01-01", periods=days)
        close = 50 * np.exp(np.cumsum(0.02 * rng.standard_normal((stocks, days)), axis=1))
        opened = close * np.exp(0.005 * rng.standard_normal((stocks, days)))
        high = np.maximum(opened, close) * (1 + 0.01 * rng.random((stocks, days)))
        low = np.minimum(opened, close) * (1 - 0.01 * rng.random((stocks, days)))
        table = {
            "date": np.tile(dates.strftime("%Y-%m-%d"), stocks),
            "symbol": np.repeat([f"S{number:02d}" for number in range(stocks)], days),
            "open": opened.ravel(),
            "high": high.ravel(),
            "low": low.ravel(),
            "close": close.ravel(),
            "volume": rng.integers(1_000, 100_000, stocks * days),
        }
        if sectors:
            table["sector"] = np.repeat([f"sector {number % sectors}" for number in range(stocks)], days)
        return pd.DataFrame(table)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a table as `name` (by its suffix Parquet or CSV) and gives the path."""

    def save(table: pd.DataFrame, name: str = "prices.parquet") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path, index=False)
        return str(path)

    return save


@pytest.fixture
def small() -> Mapping[str, object]:
    """Settings under which a panel of 120 days is long enough."""
    return {"horizons": (1, 3), "split": {"train_fraction": 0.5, "valid_fraction": 0.3}}
