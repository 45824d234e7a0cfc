"""The champion as MLflow runs it: this file is copied beside the checkpoint and needs only the package `tiertune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from hpo.trainable.loading import load_trainable


class Champion(PythonModel):
    """Scores rows with the campaign's champion.

    Of the ranker: takes rows of `date, symbol` and the columns the model was trained from (OHLCV, `sector` where it
    was used, ready features), any number of days; gives `date, symbol, score_{h}d` for every usable stock-day, higher
    is better. A score looks only at its own day and those before it, so give the days that the features look back on
    too.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Find what the checkpoint was trained by."""
        self._trainable = load_trainable(context.model_config["trainable"])
        self._checkpoint = Path(context.artifacts["checkpoint"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """See the class. Raises UsageError where a column is missing or a row is not what the data rules allow."""
        return self._trainable.predict(self._checkpoint, model_input, everything=True).table


mlflow.models.set_model(Champion())
