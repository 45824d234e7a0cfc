"""Training that is made up: curves from a formula, checkpoints of a line, otherwise what the trainer does."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpo.domain.training import Decision, Ending, EpochReport, FitResult, Reporter

NUM_EPOCHS = 6


def train(
    config: Mapping[str, Any],
    reporter: Reporter,
    folder: Path,
    before_epoch: Callable[[Path, int], None],
    saving: Callable[[], None] = lambda: None,
) -> FitResult:
    """`Trainable.fit` with a curve that is made up: goes on from the newest whole checkpoint, saves,
    reports."""
    past, parameters = _past(folder), config["model"]["hidden_size"] * 100
    reports: list[EpochReport] = []
    for epoch, score in enumerate(curve(config), start=1):
        if epoch > past:
            if reporter.poll() is Decision.STOP:
                return _result(Ending.STOPPED, reports, parameters)
            before_epoch(folder, epoch)
            _save(folder, epoch, saving)
        report = EpochReport(epoch, score, {"valid/rank_ic": score}, {"rank_ic": np.zeros(3, np.float32)}, 0.01)
        if reporter.report(report) is Decision.STOP:
            return _result(Ending.STOPPED, reports, parameters)
        reports.append(report)
    (folder / "model.pt").write_text(f"weights of {config['train']['seed']}")
    return _result(Ending.COMPLETED, reports, parameters)


def _result(ending: Ending, reports: Sequence[EpochReport], num_parameters: int) -> FitResult:
    last = [report.score for report in reports[-3:]]
    return FitResult(ending, sum(last) / max(1, len(last)), len(reports), num_parameters)


def _save(folder: Path, epoch: int, saving: Callable[[], None]) -> None:
    """As the trainer does it: beside, then renamed, the one before kept."""
    last, temporary = folder / "last.pt", folder / ".last.pt.tmp"
    temporary.write_text(f"epoch {epoch}")
    saving()
    temporary.write_text(f"epoch {epoch} whole")
    if last.exists():
        last.replace(folder / "previous.pt")
    temporary.replace(last)


def _past(folder: Path) -> int:
    """Epochs that need not be trained again: those of the newest whole checkpoint."""
    for checkpoint in (folder / "last.pt", folder / "previous.pt"):
        whole = checkpoint.exists() and re.fullmatch(rb"epoch (\d+) whole", checkpoint.read_bytes())
        if whole:
            return int(whole[1])
    return 0


def curve(config: Any) -> list[float]:
    """Scores per epoch: a pure function of the configuration and its seed."""
    rate, width = config["optim"]["lr"], config["model"]["hidden_size"]
    quality = 0.06 - 0.01 * abs(math.log10(rate / 3e-3)) - 0.005 * abs(math.log2(width / 64))
    noise = random.Random(config["train"]["seed"])
    epochs = range(1, config["train"]["epochs"] + 1)
    return [quality * (1 - math.exp(-epoch / 2)) + noise.gauss(0, 0.003) for epoch in epochs]
