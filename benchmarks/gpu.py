"""What the trainer does on a CUDA device: speed, memory beside its estimate, several trainings on one card.

    python -m benchmarks.gpu [speed|memory|shared ...] [--stocks 4000] [--days 2500] [--features 64] [--seconds 2]

speed: samples (labelled stock-days) per second of whole steps, replayed as CUDA graphs and launched kernel by kernel,
by width and batch; median (minimum to maximum) of three stretches, and whether both give the same losses. memory: the
most that training and validation held, beside the estimate. shared: eight trainings on one card at once, beside one
alone. The panel is random; speed does not depend on what it holds.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np
import torch

from trainer.config import TrainerConfig
from trainer.data.panel import TARGETS, Fold, Panel
from trainer.training.device import DeviceWatch
from trainer.training.feed import Feed
from trainer.training.folds import FoldRun
from trainer.training.labels import make_labels
from trainer.training.memory import estimate
from trainer.training.precision import choose_precision

HORIZONS = (1, 5, 10, 20)
WIDTHS, BATCHES = (64, 256, 512), (4_096, 32_768, 262_144)
CONFIGURATIONS: tuple[dict[str, Any], ...] = tuple(
    {"model": {"kind": kind, "hidden_size": width, **extra}, "train": {"batch_size": batch, "cuda_graphs": graphs}}
    for kind, width, extra, batch, graphs in [
        ("atft_gat_fan", 64, {}, 4_096, True),
        ("atft_gat_fan", 64, {}, 32_768, False),
        ("atft_gat_fan", 256, {}, 32_768, True),
        ("atft_gat_fan", 256, {"num_layers": 3}, 32_768, False),
        ("atft_gat_fan", 512, {}, 65_536, True),
        ("atft_gat_fan", 128, {"num_neighbours": 8}, 16_384, False),
        ("atft_gat_fan", 128, {"frequency_normalisation": True}, 32_768, True),
        ("gru", 128, {}, 32_768, True),
        ("mlp", 256, {}, 65_536, True),
        ("linear", 64, {}, 65_536, True),
    ]
)


def make_feed(days: int, stocks: int, features: int) -> Feed:
    """Random numbers."""
    rng = np.random.default_rng(0)
    block = rng.uniform(-1.7, 1.7, (100, stocks, features)).astype(np.float32)
    label = rng.normal(0, 0.02, (days, stocks, len(HORIZONS))).astype(np.float32)
    panel = Panel(
        dates=np.arange(days).astype("datetime64[D]"),
        symbols=tuple(map(str, range(stocks))),
        feature_names=tuple(map(str, range(features))),
        features=np.tile(block, (days // 100, 1, 1)),
        mask=np.ones((days, stocks), dtype=bool),
        targets=dict.fromkeys(TARGETS, label),
        horizons=HORIZONS,
        sectors=np.full((days, stocks), -1, dtype=np.int16),
        sector_names=(),
        returns=label[..., 0],
        oracle=None,
    )
    config = make_config({"model": {}, "train": {}})
    return Feed(panel, make_labels(panel, config.data), config.model, torch.device("cuda", 0))


def open_run(config: TrainerConfig, feed: Feed) -> FoldRun:
    """A training on the days before the last tenth, which are validated."""
    days, first = len(feed.panel.dates), len(feed.panel.dates) * 9 // 10
    if config.model.neighbours:
        feed = Feed(feed.panel, feed.labels, config.model, torch.device("cuda", 0))
    return FoldRun(config, feed, Fold(range(100, first - 40), range(first, days)), 0, choose_precision(config.train))


def make_config(settings: dict[str, Any]) -> TrainerConfig:
    """The trainer's defaults with these settings and spans of whole cross-sections where a batch holds them."""
    train = {"stocks_per_batch": 256, "device": "cuda", **settings["train"]}
    return TrainerConfig.model_validate({"data": {"horizons": HORIZONS}, "model": settings["model"], "train": train})


def step_rates(run: FoldRun, seconds: float, repeats: int = 3) -> list[float]:
    """Samples per second over stretches of about `seconds`, after a warm-up that has seen every shape."""
    run.model.train()
    batches = itertools.chain.from_iterable(map(run.batches, itertools.count(1)))
    _stretch(run, batches, 60, seconds)
    return [_stretch(run, batches, 1_000_000, seconds) for _ in range(repeats)]


def _stretch(run: FoldRun, batches: Any, steps: int, seconds: float) -> float:
    torch.cuda.synchronize()
    started, samples = time.perf_counter(), torch.zeros((), device="cuda")
    for _ in range(steps):
        samples += run.step(next(batches), 0.0)["samples"]
        if time.perf_counter() - started > seconds:
            break
    return float(samples) / (time.perf_counter() - started)


def losses(config: TrainerConfig, feed: Feed, steps: int = 40) -> list[float]:
    """The losses of the first steps."""
    run = open_run(config, feed)
    run.model.train()
    steps_taken = itertools.islice(itertools.chain.from_iterable(map(run.batches, itertools.count(1))), steps)
    return [float(run.step(batch, 0.0)["loss"]) for batch in steps_taken]


def speed(feed: Feed, seconds: float) -> None:
    """The table of speeds."""
    print("| hidden | batch | replayed, samples/s | launched one by one | ratio | GPU busy | largest loss difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for width, batch in itertools.product(WIDTHS, BATCHES):
        found, busy = [], []
        for graphs in (True, False):
            config = make_config(
                {"model": {"hidden_size": width}, "train": {"batch_size": batch, "cuda_graphs": graphs}}
            )
            with DeviceWatch(torch.device("cuda", 0)) as watch:
                found.append(step_rates(open_run(config, feed), seconds))
                busy.append(watch.metrics().get("system/device_utilisation", float("nan")))
        apart = float("nan")
        if batch == BATCHES[0]:
            base = {"model": {"hidden_size": width, "dropout": 0.0}}
            both = [
                losses(make_config({**base, "train": {"batch_size": batch, "cuda_graphs": graphs}}), feed)
                for graphs in (True, False)
            ]
            apart = max(abs(ours - theirs) for ours, theirs in zip(*both, strict=True))
        replayed, launched = (f"{median(r):,.0f} ({min(r):,.0f} to {max(r):,.0f})" for r in found)
        print(
            f"| {width} | {batch:,} | {replayed} | {launched} | {median(found[0]) / median(found[1]):.2f} | "
            f"{busy[0]:.0%} / {busy[1]:.0%} | {apart:.1e} |",
            flush=True,
        )


def memory(feed: Feed) -> None:
    """The table of estimates."""
    print("| configuration | measured, MiB | estimate / measured | validation, s |")
    print("| --- | --- | --- | --- |")
    for settings in CONFIGURATIONS:
        config = make_config(settings)
        torch.cuda.empty_cache()
        with DeviceWatch(torch.device("cuda", 0)) as watch:
            run = open_run(config, feed)
            run.train_epoch(1, lambda: False)
            torch.cuda.synchronize()
            started = time.perf_counter()
            run.validate()
            validation = time.perf_counter() - started
            measured = watch.peak_bytes or 0
        ratio = estimate(config, feed.panel.features.shape) / measured
        said = " ".join(f"{name}={value}" for part in settings.values() for name, value in part.items())
        print(f"| {said} | {measured / 2**20:,.0f} | {ratio:.2f} | {validation:.2f} |", flush=True)
        del run


def shared(workers: int = 8) -> None:
    """Samples per second of one process, and of several at once."""
    print("| processes | samples/s of all |\n| --- | --- |")
    for count in (1, workers):
        command = [sys.executable, "-m", "benchmarks.gpu", "alone", "--days", "1000", "--stocks", "1000"]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        total = sum(float(process.communicate()[0].split()[-1]) for process in running)
        print(f"| {count} | {total:,.0f} |", flush=True)


def alone(feed: Feed) -> None:
    """What one process of `shared` does: some seconds of training at a small width."""
    config = make_config({"model": {"hidden_size": 64}, "train": {"batch_size": 4_096}})
    print(step_rates(open_run(config, feed), 8.0, repeats=1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=["speed", "memory", "shared"])
    for name, default in (("stocks", 4000), ("days", 2500), ("features", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("This benchmark needs a CUDA device.")
    if arguments.tables != ["alone"]:
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    if "shared" in arguments.tables:
        shared()
    if set(arguments.tables) & {"speed", "memory", "alone"}:
        feed = make_feed(arguments.days, arguments.stocks, arguments.features)
        if "speed" in arguments.tables:
            speed(feed, arguments.seconds)
        if "memory" in arguments.tables:
            memory(feed)
        if "alone" in arguments.tables:
            alone(feed)


if __name__ == "__main__":
    main()
