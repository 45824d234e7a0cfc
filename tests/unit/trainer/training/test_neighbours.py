"""A label that only a stock's neighbours know is learnt with spans of the default size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import TrainConfig
from trainer.data.panel import TARGETS, Fold, Panel, TrainingData
from trainer.metrics import daily_rank_ic
from trainer.training.loop import fit

DAYS, STOCKS, GROUP = 160, 96, 4
VALID = range(120, DAYS)


def market_of_groups() -> tuple[Panel, float]:
    """Groups of four stocks that move together; a label is the mean feature of the three others, and noise. With the
    RankIC of who knows that."""
    rng = np.random.default_rng(0)
    group = rng.permutation(STOCKS) // GROUP
    mates = (group[:, None] == group).astype(np.float64) - np.eye(STOCKS)
    x = rng.uniform(-1.7, 1.7, (DAYS, STOCKS, 3)).astype(np.float32)
    around = x[..., :1].swapaxes(1, 2) @ mates / np.sqrt(GROUP - 1)
    known = around.swapaxes(1, 2).astype(np.float32)
    label = (0.02 * (known + 2.0 * rng.normal(size=known.shape))).astype(np.float32)
    factors = rng.normal(0, 0.02, (DAYS, STOCKS // GROUP))[:, group]
    panel = Panel(
        dates=np.arange(DAYS).astype("datetime64[D]"),
        symbols=tuple(f"S{i:02d}" for i in range(STOCKS)),
        feature_names=("a", "b", "c"),
        features=x,
        mask=np.ones((DAYS, STOCKS), dtype=np.bool_),
        targets=dict.fromkeys(TARGETS, label),
        horizons=(1,),
        sectors=np.full((DAYS, STOCKS), -1, dtype=np.int16),
        sector_names=(),
        returns=(factors + rng.normal(0, 0.005, (DAYS, STOCKS))).astype(np.float32),
        oracle=None,
    )
    days = slice(VALID.start, VALID.stop)
    return panel, float(np.nanmean(daily_rank_ic(known[days], label[days]).numpy()))


def test_a_label_made_of_neighbours_is_learnt(make_config: Any, recorder: Any, tmp_path: Path) -> None:
    panel, best = market_of_groups()
    usual = TrainConfig()
    settings = {
        "data.horizons": (1,),
        "model.kind": "atft_gat_fan",
        "model.num_layers": 1,
        "model.hidden_size": 16,
        "model.dropout": 0.1,
        "optim.lr": 5e-3,
        "train.epochs": 5,
        "train.batch_size": usual.batch_size,
        "train.stocks_per_batch": usual.stocks_per_batch,
        "train.score_epochs": 1,
    }
    data = TrainingData(panel, (Fold(range(110), VALID),))
    scores = {}
    for neighbours in (0, GROUP - 1):
        made = fit(
            make_config({**settings, "model.num_neighbours": neighbours}), data, recorder(), tmp_path / str(neighbours)
        )
        scores[neighbours] = made.score
    assert abs(scores[0]) < 0.05, "alone, a stock knows nothing"
    assert scores[GROUP - 1] > 0.85 * best, f"{scores} of {best}"
