"""No trial process is given the holdout: looked at from outside while it trains, and from inside it.

Shown to bite, by hand: a search half one day longer, and labels left where they reach across, turn the second red.
"""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from hpo.adapters.processes.runners import PRELOAD, ProcessRunner
from hpo.domain.ports import TrialRequest
from hpo.domain.training import Decision, EpochReport
from hpo.ranking.ranker import Ranker
from hpo.runs.folder import SlotFolder
from trainer.config import TrainerConfig
from trainer.data import Panel, Prepared, open_holdout, open_training, prepare
from trainer.data.panel import TARGETS

CONFIG = TrainerConfig.model_validate(
    {
        "data": {"source": "planted:clean?stocks=12&days=400", "horizons": (1, 5)},
        "model": {"kind": "linear", "window": 3},
        "train": {"epochs": 10_000, "device": "cpu", "precision": "fp32", "threads": 1},
    }
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(CONFIG.data, CONFIG.model.window, tmp_path_factory.mktemp("cache"))


def test_what_a_trial_process_has_open_lies_in_the_search_half(prepared: Prepared, tmp_path: Path) -> None:
    """Its own epoch report is answered while its maps and descriptors are read from the system."""
    attempt = SlotFolder(tmp_path, 1).open_attempt(1, {"campaign": "night", "slot": 1}, {})
    cache, seen = prepared.search.parents[1], set()

    def look(report: EpochReport) -> Decision:
        (trial,) = (
            process for process in psutil.Process().children(recursive=True) if is_trial(process, attempt.folder)
        )
        mapped = {Path(line.path) for line in trial.memory_maps()}
        opened = {Path(file.path) for file in trial.open_files()}
        seen.update(path for path in mapped | opened if cache in path.parents)
        return Decision.STOP

    end = ProcessRunner(Ranker.preload).run(
        TrialRequest(CONFIG.model_dump(mode="json"), prepared.search, attempt.folder), look, lambda: False
    )
    assert end.kind == "stopped", end
    assert {path.name for path in seen} >= {"features.npy", "mask.npy", "target_raw.npy"}, "it trains on these"
    assert {path.parent for path in seen} == {prepared.search}


def test_in_a_trial_process_every_array_ends_before_the_holdout(prepared: Prepared) -> None:
    """All that `open_training` hands out, described by a process of the trials' own fork server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*Ranker.preload, *PRELOAD])
    ours, theirs = context.Pipe()
    process = context.Process(target=describe, args=(prepared.search, theirs))
    process.start()
    theirs.close()
    told = ours.recv()
    process.join(30)
    assert process.exitcode == 0

    holdout = open_holdout(prepared.holdout)
    first = holdout.panel.dates[holdout.days.start]
    num_days = len(told["dates"])
    assert told["dates"][-1] < first
    assert {name: shape[0] for name, shape in told["shapes"].items()} == dict.fromkeys(told["shapes"], num_days)
    assert told["shapes"].keys() >= {"features", "mask", "returns", *TARGETS}
    assert told["last_valid"] < num_days
    # A label of horizon h ends h days later (one more, entered a close later): where it is a number, still before.
    for name, last in told["last_label"].items():
        for horizon, day in zip(CONFIG.data.horizons, last, strict=True):
            assert day + horizon + ("lag1" in name) < num_days, (name, horizon)


def describe(search: Path, connection: Connection) -> None:
    """What a trial can reach of the panel: dates, shapes by name, last day with a label by target and horizon."""
    data = open_training(search)
    panel = data.panel
    arrays = {**arrays_of(panel), **panel.targets}
    last_label = {
        name: [int(np.flatnonzero(np.isfinite(values[:, :, h]).any(axis=1))[-1]) for h in range(values.shape[2])]
        for name, values in panel.targets.items()
    }
    told = {
        "dates": panel.dates,
        "shapes": {name: values.shape for name, values in arrays.items()},
        "last_label": last_label,
        "last_valid": max(fold.valid.stop - 1 for fold in data.folds),
    }
    connection.send(told)


def arrays_of(panel: Panel) -> dict[str, Any]:
    """Every array of the panel; each has a row per day."""
    values = {field.name: getattr(panel, field.name) for field in fields(panel)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def is_trial(process: psutil.Process, folder: Path) -> bool:
    try:
        return os.readlink(f"/proc/{process.pid}/fd/2") == str(folder / "trial.log")
    except OSError:
        return False
