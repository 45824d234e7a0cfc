"""What a person sees of a single training run: a bar in a terminal, a line an epoch in a pipe, a table at the end."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from trainer.errors import TrainingFailure
from trainer.metric_names import ICIR, RANK_IC, TARGET_PREFIXES, MetricName
from trainer.reports import EpochReport, FitResult, Verdict
from trainer.tools.diagnose import Diagnosis

PIPE_WIDTH = 120
TARGET_TITLES = {"raw": "return", "neutral": "style-neutral", "lag1": "a close later", "neutral_lag1": "neutral, later"}


def say(text: str) -> None:
    """Print one line."""
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


class TerminalReporter:
    """Shows every epoch, and answers STOP once Ctrl-C was pressed; a second Ctrl-C ends the program at once."""

    def __init__(self, epochs: int) -> None:
        self._bar: tqdm[NoReturn] = tqdm(total=epochs, unit="epoch", disable=not sys.stderr.isatty())
        self._interrupted = False

    def report(self, report: EpochReport) -> Verdict:
        """Show one epoch."""
        loss, rate = report.metrics["train/loss"], report.metrics["system/samples_per_second"]
        if self._bar.disable:
            say(
                f"epoch {report.epoch}/{self._bar.total}  loss {loss:.4f}  valid loss "
                f"{report.metrics['valid/loss']:.4f}  score {report.score:+.4f}  {rate:,.0f} samples/s"
            )
        self._bar.set_postfix_str(f"loss {loss:.4f}, score {report.score:+.4f}, {rate:,.0f} samples/s", refresh=False)
        self._bar.update(report.epoch - self._bar.n)
        return Verdict.CONTINUE  # an epoch that is done counts; Ctrl-C is seen at the next step

    def poll(self) -> Verdict:
        """STOP after Ctrl-C."""
        return Verdict.STOP if self._interrupted else Verdict.CONTINUE

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While open, the first Ctrl-C is a request to stop and not an exception."""
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            self._bar.close()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        tqdm.write("Stopping after this step; press Ctrl-C again to stop at once.", file=sys.stderr)


def show_result(result: FitResult, horizons: Sequence[int]) -> None:
    """Print the validation metrics of the last epoch: mean daily RankIC (and ICIR) by horizon and target."""
    last = result.reports[-1]
    table = Table(title=f"validation, epoch {last.epoch}: mean daily RankIC (ICIR)")
    table.add_column("horizon")
    for target in TARGET_PREFIXES:
        table.add_column(TARGET_TITLES[target], justify="right")
    for horizon in horizons:
        table.add_row(f"{horizon}d", *(_cell(last, target, horizon) for target in TARGET_PREFIXES))
    table.add_row("mean", *(_cell(last, target, None) for target in TARGET_PREFIXES))
    _show(table)
    say(
        f"score {result.score:+.4f} (mean of the last epochs), {result.ending.value.replace('_', ' ')} after "
        f"{len(result.reports)} epochs, {result.num_parameters:,} parameters"
    )


def show_layers(diagnosis: Diagnosis, title: str = "layers, after a short warm-up") -> None:
    """Print one row per layer, in the order of computation."""
    table = Table(title=title)
    table.add_column("layer")
    for column in ("gradient / weights", "output mean", "output std", "dead units"):
        table.add_column(column, justify="right")
    for layer in diagnosis.layers:
        table.add_row(
            layer.name, f"{layer.gradient:.1e}", f"{layer.mean:+.3f}", f"{layer.std:.3f}", f"{layer.dead:.0%}"
        )
    _show(table)


def show_scores(columns: Mapping[str, Mapping[str, float | None]], horizons: Sequence[int]) -> None:
    """Print a row per horizon: mean daily RankIC (ICIR) on the return and style-neutral, of each part of the data."""
    table = Table(title="mean daily RankIC (ICIR)")
    table.add_column("horizon")
    for part in columns:
        for target in ("raw", "neutral"):
            table.add_column(f"{part}, {TARGET_TITLES[target]}", justify="right")
    for horizon in (*horizons, None):
        cells = [_of(metrics, target, horizon) for metrics in columns.values() for target in ("raw", "neutral")]
        table.add_row("mean" if horizon is None else f"{horizon}d", *cells)
    _show(table)


def show_runs(rows: Sequence[tuple[str, float | TrainingFailure, Path]]) -> None:
    """Print a row per run, the best first: what was typed for it, its score or why it failed, its folder."""
    table = Table(title="runs, the best first")
    for column in ("settings", "score", "folder"):
        table.add_column(column, justify="right" if column == "score" else "left", overflow="fold")
    for words, outcome, folder in sorted(rows, key=lambda row: -row[1] if isinstance(row[1], float) else math.inf):
        shown = f"{outcome:+.4f}" if isinstance(outcome, float) else outcome.reason
        table.add_row(words, shown, str(folder))
    _show(table)


@contextmanager
def preparation_progress() -> Iterator[Callable[[str, float], None]]:
    """A bar for the building of a panel, only in a terminal and only while there is something to wait for."""
    bar: tqdm[NoReturn] = tqdm(
        total=1.0, bar_format="{desc} {percentage:3.0f}%|{bar}|", disable=not sys.stderr.isatty(), leave=False
    )

    def show(stage: str, share: float) -> None:
        bar.set_description_str(stage, refresh=False)
        bar.update(share - bar.n)

    try:
        yield show
    finally:
        bar.close()


def _show(table: Table) -> None:
    # Through a pipe there is no width to fit into.
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def _cell(report: EpochReport, target: str, horizon: int | None) -> str:
    named = {name.removeprefix("valid/"): value for name, value in report.metrics.items()}
    return _of(named, target, horizon)


def _of(metrics: Mapping[str, float | None], target: str, horizon: int | None) -> str:
    rank_ic, icir = (metrics.get(str(MetricName(kind, target, horizon))) for kind in (RANK_IC, ICIR))
    shown = "-" if rank_ic is None else f"{rank_ic:+.4f}"
    return shown if icir is None else f"{shown} ({icir:+.2f})"
