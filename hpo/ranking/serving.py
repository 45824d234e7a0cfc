"""The ranker asked for scores of new data: from a file, and as a registered model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.domain.trainable import Predicted, Serving
from hpo.trainable.own import module_to_send
from trainer import imports
from trainer.config import TrainerConfig, own_paths

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("tiertune", "mlflow", "torch", "numpy", "pandas", "pyarrow", "pydantic", "lightgbm")
"""Distributions the loaded model imports, whatever its kind."""


def predict(checkpoint: Path, source: Path | pd.DataFrame, *, everything: bool) -> Predicted:
    """A row per date and symbol: of the days after the last one the search was given, or of every day."""
    from trainer.scoring.committee import open_scorer
    from trainer.scoring.prediction import predict as score

    scorer = open_scorer(checkpoint)
    given = str(source) if isinstance(source, Path) else source
    made = score(given, scorer, after=None if everything else scorer.last_day)
    return Predicted(made.table, made.notes)


def serving(checkpoint: Path) -> Serving:
    """Rows of `date, symbol` and the columns that the model was trained from in, `score_{h}d` for each out."""
    from trainer.scoring.committee import open_scorer

    scorer = open_scorer(checkpoint, device="cpu")
    inputs = {name: "string" if name in ("symbol", "sector") else None for name in input_columns(scorer.feature_names)}
    outputs = {"date": "datetime", "symbol": "string", **{f"score_{h}d": "float" for h in scorer.horizons}}
    return Serving(inputs, outputs, _example(tuple(inputs)), PACKAGES, _own_code(scorer.configs))


def _own_code(configs: Iterable[TrainerConfig]) -> tuple[Path, ...]:
    """What the user's own parts lie in, of those that are not installed."""
    named = dict.fromkeys(path for config in configs for path in own_paths(config))
    found = (module_to_send(path.partition(":")[0], imports.files_of(path)[0]) for path in named)
    return tuple(dict.fromkeys(place for place in found if place is not None))


def input_columns(features: tuple[str, ...]) -> tuple[str, ...]:
    """The columns a model with these features is asked with."""
    from trainer.data.features import FEATURES
    from trainer.data.market import OHLCV

    twins = {f"{name}_in_sector" for name in FEATURES}
    return (
        "date",
        "symbol",
        *(OHLCV if FEATURES.keys() & set(features) else ()),
        *(("sector",) if twins & set(features) else ()),
        *(name for name in features if name not in FEATURES and name not in twins),
    )


def _example(columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """Two stocks on two days: the form, not a panel that could be scored."""
    rows = [(date, symbol) for date in ("2024-01-02", "2024-01-03") for symbol in ("AAA", "BBB")]
    texts = {"date": [date for date, _ in rows], "symbol": [symbol for _, symbol in rows], "sector": ["Energy"] * 4}
    return {name: texts.get(name, [1.0, 2.0, 3.0, 4.0]) for name in columns}
