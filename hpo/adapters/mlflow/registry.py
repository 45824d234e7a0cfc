"""The champion in MLflow's model registry: a model anybody can load, under an alias that moves only forward."""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
import warnings
from pathlib import Path

import pandas as pd

from hpo.adapters.mlflow.quiet import AnyType, ColSpec, MlflowException, ModelSignature, ModelVersion, Schema, mlflow
from hpo.adapters.mlflow.records import trial_key
from hpo.adapters.mlflow.store import Store
from hpo.domain.campaign import Campaign

ALIAS = "champion"
REQUIREMENTS = ("tiertune", "mlflow", "torch", "numpy", "pandas", "pyarrow", "pydantic")
"""Distributions the loaded model imports."""
TEXTS = ("symbol", "sector")
_CODE = Path(__file__).with_name("model.py")
_BUDGET, _SHA256 = "tiertune.budget", "tiertune.sha256"


def model_name(campaign: str) -> str:
    """The registered model's name."""
    return f"tiertune-{campaign}"


def register(store: Store, campaign: Campaign, run_id: str, checkpoint: Path) -> str:
    """Register the checkpoint, or the committee of a manifest, as a version of the campaign's model, once, and let the
    alias point to the newest.

    A version belongs to the budget it was crowned with; the alias never goes to a version of a smaller budget, nor
    back to an older version, so that a replay changes nothing.

    Returns:
        `models:/NAME/VERSION`.
    """
    name = model_name(campaign.name)
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    _open_model(store, campaign, name)
    version = _find_version(store, name, sha256) or _create_version(store, campaign, run_id, checkpoint, sha256)
    holder = _holder(store, name)
    if holder is None or _rank(version) > _rank(holder):
        store.client.set_registered_model_alias(name, ALIAS, version.version)
    return f"models:/{name}/{version.version}"


def _open_model(store: Store, campaign: Campaign, name: str) -> None:
    description = f"Ranks stocks daily; champion of the campaign '{campaign.name}'. Load models:/{name}@{ALIAS}."
    try:
        store.client.create_registered_model(name, {"tiertune.campaign": campaign.name}, description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find_version(store: Store, name: str, sha256: str) -> ModelVersion | None:
    versions = store.client.search_model_versions(f"name = '{name}'")
    return next((version for version in versions if version.tags.get(_SHA256) == sha256), None)


def _create_version(store: Store, campaign: Campaign, run_id: str, checkpoint: Path, sha256: str) -> ModelVersion:
    with tempfile.TemporaryDirectory() as folder:
        save_model(checkpoint, Path(folder) / "model")
        store.client.log_artifacts(run_id, folder)
    tags = {_SHA256: sha256, _BUDGET: str(campaign.spec.budget)}
    if campaign.crowned is not None and campaign.crowned.slot is not None:
        tags["tiertune.slot"] = trial_key(campaign.name, campaign.crowned.slot)
        tags["tiertune.members"] = ", ".join(campaign.crowned.members)
    source = f"{store.client.get_run(run_id).info.artifact_uri}/model"
    return store.client.create_model_version(model_name(campaign.name), source, run_id, tags)


def _holder(store: Store, name: str) -> ModelVersion | None:
    try:
        return store.client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _rank(version: ModelVersion) -> tuple[int, int]:
    return int(version.tags.get(_BUDGET, 0)), int(version.version)


def save_model(checkpoint: Path, target: Path) -> None:
    """Write the checkpoint, or the committee of a manifest with all its members, as an MLflow model made from code:
    nothing in it is pickled."""
    from trainer.scoring.committee import copy_committee, open_scorer  # import torch, which a sync does not need

    scorer = open_scorer(checkpoint, device="cpu")
    columns = input_columns(scorer.feature_names)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # advice about type hints and the like
        artifact = checkpoint.resolve()
        if checkpoint.suffix == ".json":
            artifact = Path(folder) / "committee"
            artifact.mkdir()
            copy_committee(checkpoint, artifact)
        mlflow.pyfunc.save_model(
            target,
            python_model=str(_CODE),
            artifacts={"checkpoint": str(artifact)},
            signature=_signature(columns, scorer.horizons),
            input_example=_example(columns),
            pip_requirements=_requirements(Path(folder)),
        )


def _requirements(folder: Path) -> list[str]:
    """What the model imports, pinned, and every other version of this environment as a constraint, which pip heeds
    where it needs the package at all. Without a build's local part, which no index knows."""
    on_path = list(importlib.metadata.distributions())
    installed = {found.name: found.version.split("+")[0] for found in reversed(on_path)}  # the first is imported
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(installed.items())))
    return [*(f"{name}=={installed[name]}" for name in REQUIREMENTS), f"-c {constraints}"]


def input_columns(features: tuple[str, ...]) -> tuple[str, ...]:
    """The columns a model with these features is asked with."""
    from trainer.data.features import FEATURES
    from trainer.data.market import OHLCV

    twins = {f"{name}_in_sector" for name in FEATURES}
    return (
        "date",
        "symbol",
        *(OHLCV if FEATURES.keys() & set(features) else ()),
        *(("sector",) if twins & set(features) else ()),
        *(name for name in features if name not in FEATURES and name not in twins),
    )


def _signature(columns: tuple[str, ...], horizons: tuple[int, ...]) -> ModelSignature:
    # MLflow refuses whole numbers where it was told `double`, and text where it was told `datetime`.
    anything = AnyType()  # type: ignore[no-untyped-call]  # MLflow left it without annotations
    given = Schema([ColSpec("string" if name in TEXTS else anything, name) for name in columns])
    keys = [ColSpec("datetime", "date"), ColSpec("string", "symbol")]
    return ModelSignature(given, Schema([*keys, *(ColSpec("float", f"score_{h}d") for h in horizons)]))


def _example(columns: tuple[str, ...]) -> pd.DataFrame:
    """Two stocks on two days: the form, not a panel that could be scored."""
    rows = [(date, symbol) for date in ("2024-01-02", "2024-01-03") for symbol in ("AAA", "BBB")]
    texts = {"date": [date for date, _ in rows], "symbol": [symbol for _, symbol in rows], "sector": ["Energy"] * 4}
    return pd.DataFrame({name: texts.get(name, [1.0, 2.0, 3.0, 4.0]) for name in columns})
