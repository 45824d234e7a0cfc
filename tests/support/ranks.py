"""Trainings by two processes that stay for all of them: starting each anew would take most of the time."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing

from trainer.config import TrainerConfig
from trainer.data.panel import TrainingData
from trainer.reports import EpochReport, Verdict
from trainer.training.loop import fit
from trainer.training.parallel.ranks import CommonReporter, Ranks


@dataclass
class Heard:
    """Keeps every report, and stops a training after one of them."""

    stop_at: int | None = None
    reports: list[EpochReport] = field(default_factory=list)

    def report(self, report: EpochReport) -> Verdict:
        self.reports.append(report)
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.STOP if self.reports and self.reports[-1].epoch == self.stop_at else Verdict.CONTINUE


@dataclass(frozen=True)
class Job:
    """A training in a folder of this name, gone on with where it has begun. stop_at: the epoch after which it ends."""

    folder: str
    config: TrainerConfig
    data: TrainingData
    stop_at: int | None = None


def over(config: TrainerConfig, devices: int) -> TrainerConfig:
    """The same over so many devices."""
    return config.model_copy(update={"train": config.train.model_copy(update={"devices": devices})})


def trained_by_two(jobs: Sequence[Job], folder: Path) -> list[list[EpochReport]]:
    """The reports of every training, one after another."""
    given, made = folder / "jobs", folder / "reports"
    given.write_bytes(pickle.dumps(list(jobs)))
    multiprocessing.spawn(_work, (given, made), nprocs=2)
    found: list[list[EpochReport]] = pickle.loads(made.read_bytes())
    return found


def _work(rank: int, given: Path, made: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(str(given) + ".meeting", 2), rank=rank, world_size=2)
    ranks = Ranks(rank, 2, "cpu", dist.new_group(backend="gloo"))
    heard = []
    for job in pickle.loads(given.read_bytes()):
        listener = Heard(job.stop_at)
        fit(over(job.config, 2), job.data, CommonReporter(ranks, listener), given.parent / job.folder, None, ranks)
        heard.append(listener.reports)
    if rank == 0:
        made.write_bytes(pickle.dumps(heard))
    dist.barrier()
    dist.destroy_process_group()


def furthest(one: list[EpochReport], other: list[EpochReport], beginnings: tuple[str, ...]) -> float:
    """The largest difference between the metrics, of these beginnings, of two trainings."""
    assert len(one) == len(other) > 0
    differences = [
        abs(value - two.metrics[name])
        for first, two in zip(one, other, strict=True)
        for name, value in first.metrics.items()
        if name.startswith(beginnings)
    ]
    assert differences
    assert not any(map(math.isnan, differences))
    return max(differences)
