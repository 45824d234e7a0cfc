"""The champion as MLflow runs it: this file is copied beside the checkpoint and needs only the package `tiertune`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from trainer.data.features import make_features, usable
from trainer.data.loader import load
from trainer.data.panel import TARGETS, Panel
from trainer.scoring import Scorer, load_scorer


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
        """See the class. Raises InputError where a column is missing or a row is not what the data rules allow."""
        panel = panel_of(model_input, self._scorer)
        scores = self._scorer.score(panel, range(len(panel.dates)))
        days, stocks = np.nonzero(np.isfinite(scores).all(axis=2))
        keys = {"date": panel.dates[days], "symbol": np.array(panel.symbols, dtype=object)[stocks]}
        return pd.DataFrame(
            keys | {f"score_{h}d": scores[days, stocks, column] for column, h in enumerate(panel.horizons)}
        )


def panel_of(frame: pd.DataFrame, scorer: Scorer) -> Panel:
    """The frame as the scorer's panel: its features by the same recipe, no labels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.parquet"
        frame.to_parquet(path, index=False)
        market = load(str(path))
        mask = usable(market, scorer.config.data.min_price)
        made = dict(make_features(market, mask))
    names = tuple(name for name in scorer.feature_names if name in made)
    D, S = mask.shape
    unknown = np.full((D, S, len(scorer.horizons)), np.nan, dtype=np.float32)
    return Panel(
        dates=market.dates,
        symbols=market.symbols,
        feature_names=names,
        features=np.stack([made[name] for name in names], axis=2) if names else np.zeros((D, S, 0), np.float32),
        mask=mask,
        targets=dict.fromkeys(TARGETS, unknown),
        horizons=scorer.horizons,
        sectors=market.sectors,
        sector_names=market.sector_names,
        returns=np.full((D, S), np.nan, dtype=np.float32),
        oracle=None,
    )


mlflow.models.set_model(Ranker())
