"""Samples per second of one network fed three ways: windows from a DataLoader, gathered windows, this trainer's spans.

    python -m benchmarks.trainer [--seconds 1.5] [--repeats 3] [--threads 0]

(-P, because this file would otherwise stand in front of the package `trainer`.)

All ways train the same `atft_gat_fan` (no graph: a window of one stock has no neighbours) with the same loss,
optimizer and precision on the same random panel; a windowed sample is the last day of its own window of W days, scored
by the model exactly as a span scores it. Printed are the median, minimum and maximum over the repeats, and the ratio
of the medians to the DataLoader without workers.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainer.config import TrainerConfig
from trainer.data.panel import TARGETS, Fold, Panel
from trainer.models import build_model
from trainer.training.folds import FoldRun
from trainer.training.labels import make_labels
from trainer.training.losses import build_loss
from trainer.training.optim import build_optimizer, clip_gradients
from trainer.training.precision import choose_precision

DAYS, STOCKS, FEATURES, HORIZONS, WINDOW = 400, 200, 24, (1, 5, 10, 20), 20
WIDTHS, PRECISIONS = (64, 128), ("fp32", "bf16")
# Stocks of one day in a windowed batch: its loss then ranks as many stocks a day as that of a span does.
GROUP = 64


def make_panel() -> Panel:
    """Random numbers of the shape of a small market; speed does not depend on what they are."""
    rng = np.random.default_rng(0)
    label = rng.normal(0, 0.02, (DAYS, STOCKS, len(HORIZONS))).astype(np.float32)
    return Panel(
        dates=np.arange(DAYS).astype("datetime64[D]"),
        symbols=tuple(map(str, range(STOCKS))),
        feature_names=tuple(map(str, range(FEATURES))),
        features=rng.uniform(-1.7, 1.7, (DAYS, STOCKS, FEATURES)).astype(np.float32),
        mask=np.ones((DAYS, STOCKS), dtype=bool),
        targets=dict.fromkeys(TARGETS, label),
        horizons=HORIZONS,
        sectors=np.full((DAYS, STOCKS), -1, dtype=np.int16),
        sector_names=(),
        returns=label[..., 0],
        oracle=None,
    )


def make_config(width: int, precision: str) -> TrainerConfig:
    """The trainer's defaults at this width."""
    return TrainerConfig.model_validate(
        {
            "data": {"horizons": HORIZONS},
            "model": {"hidden_size": width, "window": WINDOW},
            "train": {"precision": precision, "device": "cpu"},
        }
    )


@dataclass(frozen=True)
class Windows(Dataset[tuple[Tensor, Tensor]]):
    """One item a stock-day: its window [W, F] and its labels [H]. Items of a day follow one another."""

    features: Tensor
    target: Tensor

    def __len__(self) -> int:
        return (DAYS - WINDOW + 1) * STOCKS

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        day, stock = divmod(item, STOCKS)
        return self.features[day : day + WINDOW, stock], self.target[day + WINDOW - 1, stock]


def day_batches(size: int) -> Iterator[list[int]]:
    """Items of whole groups of GROUP stocks of random days, about `size` a batch, for ever."""
    rng = np.random.default_rng(0)
    while True:
        days = rng.choice(DAYS - WINDOW + 1, max(1, size // GROUP), replace=False)
        yield [int(day) * STOCKS + int(s) for day in days for s in rng.choice(STOCKS, GROUP, replace=False)]


def from_loader(panel: Panel, size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows [W, N, F] and labels [N, H] from a map-style Dataset."""
    data = Windows(torch.from_numpy(panel.features), torch.from_numpy(panel.targets["raw"]))
    for windows, labels in DataLoader(data, batch_sampler=day_batches(size), num_workers=workers):
        yield windows.transpose(0, 1), labels


def gathered(panel: Panel, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same by one indexing operation."""
    features, target = torch.from_numpy(panel.features), torch.from_numpy(panel.targets["raw"])
    lags = torch.arange(WINDOW).unsqueeze(1)
    for items in day_batches(size):
        index = torch.tensor(items)
        day, stock = index // STOCKS, index % STOCKS
        yield features[day + lags, stock], target[day + WINDOW - 1, stock]


def windowed_rate(config: TrainerConfig, batches: Iterator[tuple[Tensor, Tensor]], seconds: float) -> float:
    """Samples per second of training on windows."""
    torch.manual_seed(0)
    model = build_model(config.model, FEATURES, len(HORIZONS)).train()
    optimizer, loss_of = build_optimizer(model, config.optim), build_loss(config.loss, HORIZONS)
    precision = choose_precision(config.train)

    def step() -> int:
        windows, labels = next(batches)
        optimizer.zero_grad()
        with precision.autocast():
            scores = model(windows, torch.ones(windows.shape[:2], dtype=torch.bool))[-1]
        by_day = (-1, GROUP, len(HORIZONS))
        known = torch.ones(labels.view(by_day).shape, dtype=torch.bool)
        loss, _ = loss_of(scores.view(by_day), labels.view(by_day), labels.view(by_day), known)
        torch.autograd.backward(loss)
        clip_gradients(model.parameters(), config.optim)
        optimizer.step()
        return len(labels)

    return measure(step, seconds)


def span_rate(config: TrainerConfig, panel: Panel, seconds: float) -> float:
    """Samples per second of this trainer's own step."""
    run = FoldRun(
        config,
        panel,
        make_labels(panel, config.data),
        Fold(range(WINDOW - 1, DAYS), range(0)),
        0,
        choose_precision(config.train),
    )
    run.model.train()
    batches = itertools.chain.from_iterable(map(run.batches, itertools.count(1)))
    return measure(lambda: int(run.step(next(batches), 0.0)["samples"]), seconds)


def measure(step: Callable[[], int], seconds: float) -> float:
    """Samples per second over at least `seconds`, after one step of warm-up."""
    step()
    samples, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        samples += step()
    return samples / elapsed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="measured time of each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0: torch's own choice")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    panel = make_panel()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"load {os.getloadavg()[0]:.1f}; W={WINDOW}, {FEATURES} features, samples/s: median (min to max), ratio")
    for width, precision in itertools.product(WIDTHS, PRECISIONS):
        config = make_config(width, precision)
        size = config.train.batch_size
        loaders = [from_loader(panel, size, workers) for workers in (0, 2)]
        by_index = gathered(panel, size)
        ways = {
            "DataLoader, 0 workers": partial(windowed_rate, config, loaders[0], options.seconds),
            "DataLoader, 2 workers": partial(windowed_rate, config, loaders[1], options.seconds),
            "gathered windows": partial(windowed_rate, config, by_index, options.seconds),
            "spans": partial(span_rate, config, panel, options.seconds),
        }
        # Interleaved, so that a busy minute of the machine hits all ways alike.
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                rates[name].append(way())
        base = median(rates["DataLoader, 0 workers"])
        for name, found in rates.items():
            spread = f"{median(found):9,.0f} ({min(found):,.0f} to {max(found):,.0f})"
            print(f"hidden {width:3d} {precision}  {name:22s} {spread:32s} {median(found) / base:6.2f}", flush=True)


if __name__ == "__main__":
    main()
