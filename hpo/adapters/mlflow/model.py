"""The champion as MLflow runs it: this file is copied beside the checkpoint and needs only the package `tiertune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from trainer.scoring.committee import open_scorer
from trainer.scoring.prediction import predict


class Ranker(PythonModel):
    """Scores a panel in long format.

    Takes rows of `date, symbol` and the columns the model was trained from (OHLCV, `sector` where it was used, ready
    features), any number of days; gives `date, symbol, score_{h}d` for every usable stock-day, higher is better. A
    score looks only at its own day and those before it, so give the days that the features look back on too.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint, or every member's; nothing in them is executed."""
        self._scorer = open_scorer(Path(context.artifacts["checkpoint"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """See the class. Raises InputError where a column is missing or a row is not what the data rules allow."""
        return predict(model_input, self._scorer).table


mlflow.models.set_model(Ranker())
