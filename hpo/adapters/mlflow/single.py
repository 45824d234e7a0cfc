"""A single training in MLflow, on request: a run of the experiment `tiertune/@single`, and a registered model."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hpo.adapters.mlflow import records
from hpo.adapters.mlflow.quiet import MlflowException
from hpo.adapters.mlflow.registry import find_version, model_name, save_model
from hpo.adapters.mlflow.store import Store
from hpo.domain.campaign import Outcome
from hpo.domain.errors import UsageError
from hpo.domain.trainable import Trainable
from hpo.runs.durable import read_json
from hpo.runs.entries import Result
from hpo.runs.folder import Attempt

EXPERIMENT = "@single"
"""No campaign can be called so."""
FILES = ("config.json", "train.log", "model.pt")
RESERVED = model_name("")
"""Beginning of the names of the campaigns' models."""


@dataclass(frozen=True)
class Recorded:
    """run_id: of the MLflow run. version: `models:/NAME/VERSION` where the model was registered."""

    run_id: str
    version: str | None = None


def record(store: Store, folder: Path, trainable: Trainable[Any], register: str | None = None) -> Recorded:
    """Write the run of a folder; again, it is the same run brought up to date. register: also make its weights a
    version of the registered model of this name, once.

    Raises:
        UsageError: no training was finished there, or the name is a campaign's.
    """
    attempt = Attempt(folder.absolute())
    missing = next((name for name in ("config.json", "run.json") if not (folder / name).is_file()), None)
    if missing is not None:
        raise UsageError(f"{folder} is no folder of a training: it holds no {missing}.")
    result, epochs = attempt.result(), attempt.epochs()
    if result is None:
        raise UsageError(f"{folder}: its training has not ended; go on with `trainer --resume {folder}`.")
    if register is not None:
        _check_registered(register, result, folder)
    started = datetime.fromisoformat(read_json(folder / "run.json")["started_at"])
    with store.answering():
        key = {"tiertune.run": str(attempt.folder)}
        tags = {"tiertune.kind": "single", "tiertune.outcome": str(result.outcome)}
        run_id = store.find_or_create(
            store.experiment(EXPERIMENT), key, folder.absolute().name, tags, records.milliseconds(started)
        )
        metrics = [*records.epoch_metrics(epochs), *records.result_metrics(result, epochs)]
        store.log(run_id, metrics=metrics, params=records.params(attempt.config()), tags=tags)
        for file in (attempt.folder / name for name in FILES):
            if file.is_file():
                store.client.log_artifact(run_id, str(file))
        store.set_status(run_id, records.STATUS[result.outcome], records.milliseconds(result.finished_at))
        version = None if register is None else _register(store, run_id, attempt.model, trainable, register)
    return Recorded(run_id, version)


def _check_registered(name: str, result: Result, folder: Path) -> None:
    if name.startswith(RESERVED):
        raise UsageError(f"--register {name}: names that begin with '{RESERVED}' are the campaigns'; choose another.")
    if result.outcome is not Outcome.COMPLETE:
        raise UsageError(f"{folder}: its training {result.outcome}, and is not registered ({result.reason}).")


def _register(store: Store, run_id: str, checkpoint: Path, trainable: Trainable[Any], name: str) -> str:
    serving = trainable.serving(checkpoint)
    assert serving is not None, "the ranker can be asked for scores"
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    try:
        store.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = find_version(store, name, sha256)
    if version is None:
        with tempfile.TemporaryDirectory() as made:
            save_model(checkpoint, trainable, serving, Path(made) / "model")
            store.client.log_artifacts(run_id, made)
        source = f"{store.client.get_run(run_id).info.artifact_uri}/model"
        version = store.client.create_model_version(name, source, run_id, {"tiertune.sha256": sha256})
    return f"models:/{name}/{version.version}"
