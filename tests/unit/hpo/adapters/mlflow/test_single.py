"""A single training in a real MLflow store: recorded once, registered once, loaded again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpo.adapters.mlflow.quiet import mlflow
from hpo.adapters.mlflow.single import record
from hpo.adapters.mlflow.store import Store
from hpo.domain.errors import UsageError
from hpo.ranking.ranker import Ranker
from trainer.__main__ import main

SETTINGS = ["model=mlp", "model.window=4", "data.horizons=[1,5]", "train.epochs=2", "train.device=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training."""
    home = tmp_path_factory.mktemp("single")
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2020-01-01", periods=300)
    closes = {f"S{n:02d}": 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 300))) for n in range(12)}
    bars = [
        pd.DataFrame({"date": dates, "symbol": name, **dict.fromkeys(("open", "high", "low", "close"), close)})
        for name, close in closes.items()
    ]
    pd.concat(bars).assign(volume=1e6).to_parquet(home / "prices.parquet")
    words = [f"data.source={home / 'prices.parquet'}", "--folder", str(home / "run"), "--cache", str(home / "cache")]
    assert main([*SETTINGS, *words]) == 0
    return home / "run"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")


def test_a_training_is_recorded_once_with_its_curve(run: Path, store: Store) -> None:
    first, again = record(store, run, Ranker()), record(store, run, Ranker())
    assert first == again
    found = store.client.get_run(first.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["model.kind"] == "mlp"
    history = store.client.get_metric_history(first.run_id, "valid/rank_ic")
    assert [point.step for point in history] == [1, 2]
    assert {file.path for file in store.client.list_artifacts(first.run_id)} >= {"config.json", "model.pt", "train.log"}


def test_its_model_is_registered_once_and_scores(run: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = record(store, run, Ranker(), "nightly")
    assert made.version == record(store, run, Ranker(), "nightly").version == "models:/nightly/1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    mlflow.set_tracking_uri(store.uri)
    model = mlflow.pyfunc.load_model(made.version)
    assert set(model.metadata.signature.inputs.input_names()) >= {"date", "symbol", "close"}
    mlflow.set_tracking_uri(None)


def test_what_is_no_finished_training_is_refused(run: Path, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no config\.json"):
        record(store, tmp_path, Ranker())
    with pytest.raises(UsageError, match="begin with 'tiertune-' are the campaigns'"):
        record(store, run, Ranker(), "tiertune-night")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"holds no run\.json"):
        record(store, tmp_path, Ranker())
    (tmp_path / "run.json").write_text((run / "run.json").read_text())
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(UsageError, match="has not ended; go on with `trainer --resume"):
        record(store, tmp_path, Ranker())
    result = json.loads((run / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**result, "outcome": "failed", "reason": "non_finite: it broke"}))
    with pytest.raises(UsageError, match="training failed, and is not registered"):
        record(store, tmp_path, Ranker(), "nightly")
