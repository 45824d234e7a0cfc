"""The champion as MLflow runs it: this file is copied beside the checkpoint and needs only the package `tiertune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from trainer.data.features import feature_names, make_features, usable
from trainer.data.market import Market, Wide
from trainer.data.panel import Panel
from trainer.errors import InputError
from trainer.scoring import Scorer, load_scorer

KEYS = ("date", "symbol")
SECTOR = "sector"


class Ranker(PythonModel):
    """Scores a panel in long format.

    Takes rows of `date, symbol` and the columns the model was trained from (OHLCV, `sector` where it was used, ready
    features), any number of days; gives `date, symbol, score_{h}d` for every usable stock-day, higher is better. A
    score looks only at its own day and those before it, so give the days that the features look back on too.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint; nothing in it is executed."""
        self._scorer = load_scorer(Path(context.artifacts["checkpoint"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """See the class. Raises InputError where columns are missing or a stock has two rows on a day."""
        panel = panel_of(model_input, self._scorer)
        scores = self._scorer.score(panel, range(len(panel.dates)))
        days, stocks = np.nonzero(np.isfinite(scores).all(axis=2))
        found = {"date": panel.dates[days], "symbol": np.array(panel.symbols, dtype=object)[stocks]}
        return pd.DataFrame(
            found | {f"score_{h}d": scores[days, stocks, column] for column, h in enumerate(panel.horizons)}
        )


def panel_of(frame: pd.DataFrame, scorer: Scorer) -> Panel:
    """The frame as the scorer's panel, without labels."""
    market = _market(frame)
    mask = usable(market, scorer.config.data.min_price)
    made = dict(make_features(market, mask))
    names = tuple(name for name in feature_names(market) if name in scorer.feature_names)
    D, S = mask.shape
    features = np.zeros((D, S, len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        features[:, :, column] = made[name]
    return Panel(
        dates=market.dates,
        symbols=market.symbols,
        feature_names=names,
        features=features,
        mask=mask,
        targets={"raw": np.full((D, S, len(scorer.horizons)), np.nan, dtype=np.float32)},
        horizons=scorer.horizons,
        sectors=market.sectors,
        sector_names=market.sector_names,
        returns=np.full((D, S), np.nan, dtype=np.float32),
        oracle=None,
    )


def _market(frame: pd.DataFrame) -> Market:
    missing = [name for name in KEYS if name not in frame.columns]
    if missing:
        raise InputError(f"the frame has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}.")
    rows = frame.assign(date=pd.to_datetime(frame["date"]), symbol=frame["symbol"].astype(str))
    twice = rows.duplicated(list(KEYS))
    if twice.any():
        first = rows[twice].iloc[0]
        raise InputError(f"{first['symbol']} has two rows on {first['date']:%Y-%m-%d}; keep one row a day and symbol.")
    dates, symbols = np.unique(rows["date"].to_numpy("datetime64[D]")), tuple(sorted(rows["symbol"].unique()))
    day = np.searchsorted(dates, rows["date"].to_numpy("datetime64[D]"))
    stock = pd.Categorical(rows["symbol"], categories=list(symbols)).codes
    columns = tuple(str(name) for name in rows.columns if name not in (*KEYS, SECTOR))

    def read(name: str) -> Wide:
        wide = np.full((len(dates), len(symbols)), np.nan)
        wide[day, stock] = rows[name].to_numpy(float)
        return wide

    present = np.zeros((len(dates), len(symbols)), dtype=bool)
    present[day, stock] = True
    sectors, sector_names = _sectors(rows, symbols)
    return Market("the frame", dates, symbols, columns, read, _cell, present, sectors, sector_names)


def _cell(day: int, stock: int) -> str:
    return f"day {day + 1}, stock {stock + 1}"


def _sectors(rows: pd.DataFrame, symbols: tuple[str, ...]) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    if SECTOR not in rows.columns:
        return np.full(len(symbols), -1, dtype=np.int16), ()
    first = rows.dropna(subset=[SECTOR]).sort_values("date").groupby("symbol")[SECTOR].first().astype(str)
    names = tuple(sorted(first.unique()))
    return np.array([names.index(first[s]) if s in first else -1 for s in symbols], dtype=np.int16), names


mlflow.models.set_model(Ranker())
