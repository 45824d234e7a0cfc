"""A tiny panel with a linear signal, a tiny configuration, and a reporter that remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from trainer.config import TrainerConfig
from trainer.data.panel import TARGETS, Fold, Panel, TrainingData
from trainer.reports import EpochReport, Verdict

HORIZONS = (1, 5)


@dataclass
class Recorder:
    """Keeps every report; answers STOP at `stop_at`, and to polls after `polls` of them; dies within an epoch."""

    stop_at: int | None = None
    die_after: int | None = None
    polls: int | None = None
    reports: list[EpochReport] = field(default_factory=list)

    def report(self, report: EpochReport) -> Verdict:
        self.reports.append(report)
        return Verdict.STOP if report.epoch == self.stop_at else Verdict.CONTINUE

    def poll(self) -> Verdict:
        if self.die_after is not None and len(self.reports) == self.die_after:
            raise KeyboardInterrupt
        if self.polls is not None:
            self.polls -= 1
        return Verdict.STOP if self.polls is not None and self.polls < 0 else Verdict.CONTINUE


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def make_panel() -> Callable[..., Panel]:
    def make(days: int = 90, stocks: int = 24, features: int = 3, signal: float = 1.0, seed: int = 0) -> Panel:
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1.7, 1.7, (days, stocks, features)).astype(np.float32)
        mask = rng.random((days, stocks)) > 0.1
        mask[: days // 3, 0] = False  # a late listing
        x[~mask] = 0.0
        noise = rng.normal(size=(days, stocks, len(HORIZONS)))
        label = (0.02 * (signal * x[..., :1] + noise)).astype(np.float32)
        label[~mask] = np.nan
        return Panel(
            dates=np.arange(days).astype("datetime64[D]"),
            symbols=tuple(f"S{i:02d}" for i in range(stocks)),
            feature_names=tuple(f"f{i}" for i in range(features)),
            features=x,
            mask=mask,
            targets={name: label.copy() for name in TARGETS},
            horizons=HORIZONS,
            sectors=np.tile((np.arange(stocks) % 3).astype(np.int16), (days, 1)),
            sector_names=("a", "b", "c"),
            returns=np.where(mask, rng.normal(0, 0.02, (days, stocks)), np.nan).astype(np.float32),
            oracle=None,
        )

    return make


@pytest.fixture
def make_data(make_panel: Callable[..., Panel]) -> Callable[..., TrainingData]:
    def make(folds: int = 1, **options: Any) -> TrainingData:
        panel = make_panel(**options)
        days = len(panel.dates)
        first, each = days // 2, days // 3 // folds
        return TrainingData(
            panel,
            tuple(
                Fold(range(first + i * each), range(first + i * each + 5, first + (i + 1) * each + 5))
                for i in range(folds)
            ),
        )

    return make


@pytest.fixture
def make_config() -> Callable[..., TrainerConfig]:
    """A small, fast configuration; settings by dotted path, as `make_config(**{"optim.lr": 1e-3})`."""

    def make(settings: dict[str, Any] | None = None) -> TrainerConfig:
        given = {
            "data.horizons": HORIZONS,
            "model.kind": "mlp",
            "model.window": 4,
            "model.hidden_size": 8,
            "train.epochs": 4,
            "train.batch_size": 200,
            "train.stocks_per_batch": 12,
            "train.device": "cpu",
            "train.precision": "fp32",
            **(settings or {}),
        }
        tree: dict[str, dict[str, Any]] = {}
        for path, value in given.items():
            section, key = path.split(".")
            tree.setdefault(section, {})[key] = value
        return TrainerConfig.model_validate(tree)

    return make
