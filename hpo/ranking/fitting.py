"""One training of the embedded trainer, in a trial's process: its reports and endings in the search's words."""

from __future__ import annotations

from pathlib import Path

import torch

from hpo.domain.training import Decision, Ending, EpochReport, FitResult, Reporter
from trainer import reports
from trainer.config import TrainerConfig
from trainer.data import open_training
from trainer.training.device import processor_name, room
from trainer.training.memory import check_fits, known_estimate
from trainer.training.parallel.launch import fit_prepared
from trainer.training.precision import choose_device, choose_precision

VERDICTS = {Decision.CONTINUE: reports.Verdict.CONTINUE, Decision.STOP: reports.Verdict.STOP}


class _Listener:
    """A reporter of the search as the trainer knows one."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def report(self, report: reports.EpochReport) -> reports.Verdict:
        return VERDICTS[self._reporter.report(EpochReport(**vars(report)))]

    def poll(self) -> reports.Verdict:
        return VERDICTS[self._reporter.poll()]


def fit(settings: TrainerConfig, data: Path, reporter: Reporter, folder: Path) -> FitResult:
    """Train. Raises trainer.errors.TrainingFailure."""
    result = fit_prepared(settings, data, _Listener(reporter), folder)
    return FitResult(
        Ending(result.ending.value),
        result.score,
        result.last_epoch,
        result.num_parameters,
        describe_device(settings),
    )


def describe_device(settings: TrainerConfig) -> str:
    """On what a training runs here, and in which arithmetic: of two trainings that differ in it, the same seed may give
    other bits."""
    precision, number = choose_precision(settings.train), settings.train.devices
    several = "" if number == 1 else f"{number} x "
    return f"{several}{processor_name(precision.device)}, {precision.reason}; torch {torch.__version__}"


def check_memory(settings: TrainerConfig, data: Path, limit: int) -> None:
    """Raise trainer.errors.DoesNotFitError where a training needs more than there is."""
    shape = open_training(data).panel.features.shape
    check_fits(settings, shape, room(choose_device(settings.train.device), limit))


def memory_needed(settings: TrainerConfig, data: Path) -> int | None:
    """Bytes on a device; None where a part of the user's own cannot be followed."""
    return known_estimate(settings, open_training(data).panel.features.shape)
