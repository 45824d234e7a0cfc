"""Planted markets as a user's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.market import OHLCV
from trainer.data.planted import generate


def write_market(source: str, file: Path) -> None:
    """The bars and sectors of a `planted:` source as a Parquet file."""
    market = generate(source, (1,))
    days, stocks = np.nonzero(market.rows)
    names = {
        "symbol": np.array(market.symbols)[stocks],
        "sector": np.array(market.sector_names)[market.sectors[days, stocks]],
    }
    bars = {name: market.read(name)[days, stocks] for name in OHLCV}
    pd.DataFrame({"date": market.dates[days], **names, **bars}).to_parquet(file, index=False)
