"""The champion in MLflow's model registry: a model anybody can load, under an alias that moves only forward."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hpo.adapters.mlflow.quiet import (
    AnyType,
    ColSpec,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    MlflowException,
    ModelSignature,
    ModelVersion,
    Schema,
    mlflow,
)
from hpo.adapters.mlflow.records import origin, trial_key
from hpo.adapters.mlflow.store import Experiment, Store
from hpo.domain.campaign import Campaign
from hpo.domain.trainable import Serving, Trainable
from hpo.trainable.loading import load_trainable

ALIAS = "champion"
_CODE = Path(__file__).with_name("model.py")
_BUDGET, _SHA256 = "tiertune.budget", "tiertune.sha256"
_VERSIONS = "mlflow.modelVersions"
"""Tag of a logged model by which MLflow's pages lead from it to its registered versions."""


def model_name(campaign: str) -> str:
    """The registered model's name."""
    return f"tiertune-{campaign}"


def unregister(store: Store, campaign: Campaign) -> None:
    """Delete the campaign's model with all its versions, if there is one."""
    try:
        store.client.delete_registered_model(model_name(campaign.name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def register(
    store: Store, experiment: Experiment, campaign: Campaign, run_id: str, checkpoint: Path, *, recommended: bool
) -> str | None:
    """Log the checkpoint as a model of the run and register that as a version of the campaign's model, both once; where
    it is recommended, let the alias point to it.

    A version belongs to the budget it was crowned with; the alias never goes to a version of a smaller budget, nor
    back to an older version, so that a replay changes nothing.

    Returns:
        `models:/NAME/VERSION`; None where the trainable does not say how a model of its is asked.
    """
    trainable = load_trainable(campaign.spec.trainable)
    serving = trainable.serving(checkpoint)
    if serving is None:
        return None
    name = model_name(campaign.name)
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    _open_model(store, campaign, name)
    saved = partial(save_model, checkpoint, trainable, serving)
    model = _log_model(store, experiment, campaign, run_id, sha256, saved)
    # Not `models:/ID`: MLflow would look that up in whatever store the process has set.
    version = find_version(store, name, sha256) or store.client.create_model_version(
        name, model.artifact_location, run_id, _tags(campaign, sha256), model_id=model.model_id
    )
    named = json.dumps([{"name": name, "version": version.version}])
    if model.tags.get(_VERSIONS) != named:
        store.client.set_logged_model_tags(model.model_id, {_VERSIONS: named})
    holder = _holder(store, name)
    if recommended and (holder is None or _rank(version) > _rank(holder)):
        store.client.set_registered_model_alias(name, ALIAS, version.version)
    return f"models:/{name}/{version.version}"


def _open_model(store: Store, campaign: Campaign, name: str) -> None:
    description = (
        f"What the campaign '{campaign.name}' ends with. The alias '{ALIAS}' is the newest version that its report "
        f"recommends: models:/{name}@{ALIAS}."
    )
    try:
        store.client.create_registered_model(name, {"tiertune.campaign": campaign.name}, description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def find_version(store: Store, name: str, sha256: str) -> ModelVersion | None:
    """The version of a registered model that holds this checkpoint."""
    versions = store.client.search_model_versions(f"name = '{name}'")
    return next((version for version in versions if version.tags.get(_SHA256) == sha256), None)


def _log_model(
    store: Store, experiment: Experiment, campaign: Campaign, run_id: str, sha256: str, save: Callable[[Path], None]
) -> LoggedModel:
    """The run's logged model with this digest, made or finished where it is not whole."""
    client = store.client
    known = client.search_logged_models([experiment.id], f"tags.`{_SHA256}` = '{sha256}'")
    model = next(iter(known), None)
    if model is None:
        settings = {name: str(value) for name, value in (campaign.champion or {}).get("values", {}).items()}
        tags = _tags(campaign, sha256) | origin(campaign.name)
        model = client.create_logged_model(experiment.id, ALIAS, run_id, tags, settings)
    if model.status is not LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder) / "model")
            client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        model = client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return model


def _tags(campaign: Campaign, sha256: str) -> dict[str, str]:
    """Of a version and of the logged model behind it."""
    tags = {_SHA256: sha256, _BUDGET: str(campaign.spec.budget)}
    if campaign.crowned is not None and campaign.crowned.slot is not None:
        tags["tiertune.slot"] = trial_key(campaign.name, campaign.crowned.slot)
        tags["tiertune.members"] = ", ".join(campaign.crowned.members)
    return tags


def _holder(store: Store, name: str) -> ModelVersion | None:
    try:
        return store.client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _rank(version: ModelVersion) -> tuple[int, int]:
    return int(version.tags.get(_BUDGET, 0)), int(version.version)


def save_model(checkpoint: Path, trainable: Trainable[Any], serving: Serving, target: Path) -> None:
    """Write the checkpoint as an MLflow model made from code: nothing in it is pickled by MLflow."""
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as parts,
    ):
        warnings.simplefilter("ignore")  # advice about type hints and the like
        mlflow.pyfunc.save_model(
            target,
            python_model=str(_CODE),
            artifacts={"checkpoint": str(trainable.portable(checkpoint.resolve(), Path(parts)))},
            model_config={"trainable": trainable.name},
            signature=_signature(serving) if serving.inputs else None,
            input_example=pd.DataFrame(dict(serving.example)) if serving.example else None,
            code_paths=[str(path) for path in serving.code] or None,
            pip_requirements=_requirements(serving.packages, Path(folder)),
        )


def _requirements(packages: Sequence[str], folder: Path) -> list[str]:
    """What the model imports, pinned, and every other version of this environment as a constraint, which pip heeds
    where it needs the package at all. Without a build's local part, which no index knows."""
    on_path = list(importlib.metadata.distributions())
    installed = {found.name: found.version.split("+")[0] for found in reversed(on_path)}  # the first is imported
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(installed.items())))
    return [*(f"{name}=={installed[name]}" for name in packages), f"-c {constraints}"]


def _signature(serving: Serving) -> ModelSignature:
    # MLflow refuses whole numbers where it was told `double`, and text where it was told `datetime`.
    anything = AnyType()  # type: ignore[no-untyped-call]  # MLflow left it without annotations
    given, made = (
        Schema([ColSpec(anything if kind is None else kind, name) for name, kind in columns.items()])
        for columns in (serving.inputs, serving.outputs)
    )
    return ModelSignature(given, made)
