"""Predicts a number from the columns of a CSV file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import SGDRegressor

from hpo.trainable import Metric, OwnTrainable, Trial, run_alone


@dataclass
class Settings:
    data: Path = Path("houses.csv")
    epochs: int = 6
    rate: float = 0.01
    alpha: float = 1e-4
    penalty: str = "l2"
    seed: int = 0


class Houses(OwnTrainable[Settings]):
    schema = Settings
    metric = Metric("error", "absolute error", direction="minimize")
    packages = ("scikit-learn",)

    def split(self, settings: Settings) -> tuple[Any, Any]:
        table = pd.read_csv(settings.data).sample(frac=1.0, random_state=0)
        return table[: len(table) * 4 // 5], table[len(table) * 4 // 5 :]

    def train(self, settings: Settings, trial: Trial) -> None:
        half = len(trial.data) // 2
        model = trial.load() or SGDRegressor(
            alpha=settings.alpha, penalty=settings.penalty, eta0=settings.rate, random_state=settings.seed
        )
        for epoch in trial.epochs:
            model.partial_fit(trial.data[:half].drop(columns="target"), trial.data[:half]["target"])
            errors = self.evaluate(model, trial.data[half:])
            trial.report(epoch, float(np.mean(errors)), series=errors, state=model)

    def evaluate(self, state: SGDRegressor, holdout: pd.DataFrame) -> Any:
        return np.abs(state.predict(holdout.drop(columns="target")) - holdout["target"])

    def answer(self, state: SGDRegressor, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(prediction=state.predict(table.drop(columns="target", errors="ignore")))


if __name__ == "__main__":
    run_alone(Houses)
