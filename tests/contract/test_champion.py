"""The champion in the registry: anybody can load it, and its alias moves only forward."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.adapters.mlflow.quiet import MlflowClient, mlflow
from hpo.adapters.mlflow.registry import save_model
from hpo.adapters.mlflow.tracker import MLflowTracker
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, Outcome, TierPlan
from hpo.ranking.ranker import Ranker
from hpo.ranking.serving import input_columns
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder
from trainer.config import TrainerConfig
from trainer.data import open_holdout, open_training, prepare
from trainer.reports import EpochReport, Verdict
from trainer.scoring.scorer import load_scorer
from trainer.training import checkpoint
from trainer.training.loop import fit

NAME = "tiertune-night"
PREDICT = """
import sys
import mlflow
import pandas as pd
model = mlflow.pyfunc.load_model("models:/tiertune-night@champion")
model.predict(pd.read_parquet(sys.argv[1])).to_parquet(sys.argv[2])
"""


class Listener:
    def report(self, report: EpochReport) -> Verdict:
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.CONTINUE


def campaign(num_trials: int = 2) -> Campaign:
    spec = CampaignSpec(
        "night", {"search": {"trainable": "ranker"}}, {}, (TierPlan(1, "capacity", num_trials),), seed=1
    )
    return Campaign(1, spec, CampaignState.COMPLETE, champion={"slot": 1, "values": {"optim.lr": 1e-3}})


def finished(runs: Path, slot: int) -> Attempt:
    run = {"campaign": "night", "tier": 1, "tier_name": "capacity", "slot": slot, "params": {}}
    return SlotFolder(runs, slot).open_attempt(1, run, {})


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole prices and volumes of 14 stocks on 400 days, with a hole."""
    rng = np.random.default_rng(7)
    dates = pd.bdate_range("2021-01-04", periods=400)
    close = (1e5 * np.exp(rng.normal(0.0, 0.02, (400, 14)).cumsum(0))).round()
    frames = []
    for stock in range(14):
        bars = pd.DataFrame({"date": dates, "symbol": f"S{stock:02d}", "close": close[:, stock]})
        bars["open"] = bars["close"].shift(1).bfill()
        bars["high"] = bars[["open", "close"]].max(axis=1) * 1.01
        bars["low"] = bars[["open", "close"]].min(axis=1) * 0.99
        bars["volume"] = rng.integers(1_000, 9_000, 400)
        frames.append(bars.astype({"close": int}))
    path = tmp_path_factory.mktemp("prices") / "prices.parquet"
    pd.concat(frames).sort_values(["date", "symbol"]).drop(index=390).to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of a small model, and the holdout of its data."""
    config = TrainerConfig.model_validate(
        {
            "data": {"source": str(prices), "horizons": (1, 5)},
            "model": {"kind": "linear", "window": 5},
            "train": {"epochs": 1, "device": "cpu", "precision": "fp32", "threads": 1},
        }
    )
    folder = tmp_path_factory.mktemp("trained")
    data = prepare(config.data, config.model.window, folder / "cache")
    fit(config, open_training(data.search), Listener(), folder)
    return folder / "model.pt", data.holdout


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return campaign_folder(tmp_path, "night")


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_without_a_store_there_is_no_champion(runs: Path, trained: tuple[Path, Path]) -> None:
    assert NullTracker().register_champion(campaign(), finished(runs, 1).folder, trained[0], recommended=True) is None


def loaded_elsewhere(store: str, prices: Path, folder: Path) -> pd.DataFrame:
    """What `@champion` gives for the prices in a process that knows the store and the installed packages alone."""
    folder.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "MLFLOW_TRACKING_URI": store,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # -I: neither this folder nor PYTHONPATH is looked into, only what is installed.
    command = [sys.executable, "-I", "-c", PREDICT, str(prices), "scores.parquet"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
    return pd.read_parquet(folder / "scores.parquet")


def test_the_champion_scores_elsewhere_what_the_trainer_scores(
    store: str, runs: Path, prices: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    best, holdout = trained
    attempt = finished(runs, 1)
    attempt.finish(Outcome.COMPLETE, 0.1)
    assert MLflowTracker(store, tmp_path / "files").register_champion(
        campaign(), attempt.folder, best, recommended=True
    ) == (f"models:/{NAME}/1")
    given = loaded_elsewhere(store, prices, tmp_path / "elsewhere")
    assert list(given.columns) == ["date", "symbol", "score_1d", "score_5d"]
    data = open_holdout(holdout)
    panel, scores = data.panel, load_scorer(best, "cpu").score(data.panel, data.days)
    days, stocks = np.nonzero(np.isfinite(scores).all(axis=2))
    assert days.size > 0
    ours = pd.DataFrame({"date": panel.dates[data.days][days], "symbol": np.array(panel.symbols)[stocks]})
    both = ours.assign(one=scores[days, stocks, 0], five=scores[days, stocks, 1]).merge(given, on=["date", "symbol"])
    assert len(both) == len(ours)
    np.testing.assert_allclose(both["score_1d"], both["one"], atol=1e-5)
    np.testing.assert_allclose(both["score_5d"], both["five"], atol=1e-5)


def test_a_committee_scores_elsewhere_what_predict_scores(
    store: str, runs: Path, prices: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    """All members' weights travel with the model: the run folders are gone by then."""
    state = checkpoint.load(trained[0])
    other = [{name: -value for name, value in weights.items()} for weights in state["weights"]]
    files = {}
    for slot, weights in ((1, state["weights"]), (2, other), (3, state["weights"])):
        attempt = finished(runs, slot)
        attempt.finish(Outcome.COMPLETE, 0.1)
        checkpoint.save({**state, "weights": weights}, attempt.model)
        files[f"night#{slot}"] = attempt.model
    shares = {"night#1": 0.5, "night#2": 0.3, "night#3": 0.2}
    joined = runs / "committee.json"
    Ranker().join(files, shares, joined)
    expected = Ranker().predict(joined, prices, everything=True).table

    tracker = MLflowTracker(store, tmp_path / "files")
    assert (
        tracker.register_champion(campaign(), files["night#1"].parent, joined, recommended=True) == f"models:/{NAME}/1"
    )
    assert (
        tracker.register_champion(campaign(), files["night#1"].parent, joined, recommended=True) == f"models:/{NAME}/1"
    )
    runs.rename(tmp_path / "gone")

    given = loaded_elsewhere(store, prices, tmp_path / "elsewhere")
    assert len(expected) == len(given) > 0
    both = expected.merge(given, on=["date", "symbol"], suffixes=("", "_given"))
    assert len(both) == len(expected)
    for name in ("score_1d", "score_5d"):
        np.testing.assert_allclose(both[f"{name}_given"], both[name], atol=1e-5)
        assert both[name].between(0, 1).all()


def test_the_model_says_what_it_takes_and_what_it_needs(trained: tuple[Path, Path], tmp_path: Path) -> None:
    model = tmp_path / "model"
    ranker = Ranker()
    save_model(trained[0], ranker, ranker.serving(trained[0]), model)
    info = mlflow.models.get_model_info(str(model))
    assert info.signature.inputs.input_names() == ["date", "symbol", "open", "high", "low", "close", "volume"]
    assert info.signature.outputs.input_names() == ["date", "symbol", "score_1d", "score_5d"]
    example = json.loads((model / "input_example.json").read_text())
    assert example["columns"] == info.signature.inputs.input_names()

    *pinned, last = (model / "requirements.txt").read_text().split("\n")
    assert last == "-c constraints.txt"
    versions = dict(line.split("==") for line in pinned)
    assert {"tiertune", "torch", "lightgbm", "mlflow"} <= versions.keys()
    resolved = dict(line.split("==") for line in (model / "constraints.txt").read_text().split())
    assert versions.items() <= resolved.items()
    assert "scipy" in resolved, "what the imported packages need themselves"
    assert all("+" not in version for version in resolved.values()), "an index knows no local build"


def test_nothing_in_the_model_is_pickled_but_weights_that_are_read_as_plain_data(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    ranker = Ranker()
    save_model(trained[0], ranker, ranker.serving(trained[0]), model)
    kinds = {path.suffix for path in model.rglob("*") if path.is_file()}
    assert kinds == {"", ".json", ".pt", ".py", ".txt", ".yaml"}
    assert yaml.safe_load((model / "MLmodel").read_text())["flavors"]["python_function"]["loader_module"] == (
        "mlflow.pyfunc.loaders.code_model"
    )


def test_the_alias_moves_only_forward(store: str, runs: Path, trained: tuple[Path, Path], tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    tracker = MLflowTracker(store, tmp_path / "files")
    attempts = {slot: finished(runs, slot) for slot in (1, 2, 3)}
    models = {}
    for slot, attempt in attempts.items():
        attempt.finish(Outcome.COMPLETE, 0.1 * slot)
        checkpoint.save({**checkpoint.load(trained[0]), "epoch": slot}, attempt.model)
        models[slot] = attempt.model
    models[4] = tmp_path / "other.pt"
    checkpoint.save({**checkpoint.load(trained[0]), "epoch": 4}, models[4])

    def holder() -> str:
        return str(client.get_model_version_by_alias(NAME, "champion").version)

    first = tracker.register_champion(campaign(2), attempts[1].folder, models[1], recommended=True)
    assert (first, holder()) == (f"models:/{NAME}/1", "1")
    assert (
        tracker.register_champion(campaign(4), attempts[2].folder, models[2], recommended=True) == f"models:/{NAME}/2"
    )
    assert holder() == "2"
    assert tracker.register_champion(campaign(2), attempts[1].folder, models[1], recommended=True) == first  # a replay
    assert (
        tracker.register_champion(campaign(2), attempts[3].folder, models[3], recommended=True) == f"models:/{NAME}/3"
    )  # a late one
    assert holder() == "2"
    tracker.register_champion(campaign(8), attempts[3].folder, models[4], recommended=False)
    assert holder() == "2", "not recommended"
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 4
    version = client.get_model_version(NAME, "2")
    assert client.get_run(version.run_id).data.tags["tiertune.slot"] == "night#0002"


@pytest.mark.parametrize("broken_off", ["create_logged_model", "log_model_artifacts", "finalize_logged_model"])
def test_a_logged_model_is_made_once_and_finished_where_that_was_broken_off(
    broken_off: str,
    store: str,
    runs: Path,
    trained: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = finished(runs, 1)
    attempt.finish(Outcome.COMPLETE, 0.1)
    original = getattr(MlflowClient, broken_off)

    def lost(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        raise KeyboardInterrupt

    def register() -> None:
        MLflowTracker(store, tmp_path / "files").register_champion(
            campaign(), attempt.folder, trained[0], recommended=True
        )

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, broken_off, lost)
        with pytest.raises(KeyboardInterrupt):
            register()
    register()
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    (model,) = client.search_logged_models(["1"])
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    run = client.get_run(version.run_id)
    assert (model.status, model.source_run_id) == ("READY", run.info.run_id)
    assert version.source == model.artifact_location
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": version.version}]
    assert [made.model_id for made in run.outputs.model_outputs] == [model.model_id]
    assert run.data.tags["tiertune.slot"] == "night#0001"
    assert model.params == {"optim.lr": "0.001"}
    assert model.tags["mlflow.source.name"] == "hpo run study=night"
    assert {file.path for file in client.list_logged_model_artifacts(model.model_id)} >= {"MLmodel", "model.py"}


def test_a_committee_is_a_model_of_the_campaigns_run(
    store: str, runs: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    attempt = finished(runs, 1)
    attempt.finish(Outcome.COMPLETE, 0.1)
    members = {f"night#{slot}": {"slot": slot, "weight": 0.5, "epoch": 1, "sha256": "ab"} for slot in (1, 2)}
    crowned = replace(campaign(), champion={"slot": 1, "members": members})
    MLflowTracker(store, tmp_path / "files").register_champion(crowned, attempt.folder, trained[0], recommended=True)
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    assert client.get_run(version.run_id).data.tags["tiertune.kind"] == "campaign"


def test_the_columns_asked_for_are_those_of_the_source() -> None:
    bars = ("open", "high", "low", "close", "volume")
    assert input_columns(("return_1d", "volatility_20d")) == ("date", "symbol", *bars)
    assert input_columns(("return_1d", "return_1d_in_sector", "mine")) == ("date", "symbol", *bars, "sector", "mine")
    assert input_columns(("mine", "yours")) == ("date", "symbol", "mine", "yours")
