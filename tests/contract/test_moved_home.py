"""A state folder that was moved: everything in it is found, and goes on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from support.command import TINY_SPACE, hpo

from hpo.adapters.postgres.urls import url_for
from hpo.cli import main

NAME = "moved"


def prices(file: Path) -> Path:
    """Fourteen stocks on 400 days."""
    rng = np.random.default_rng(3)
    frames = []
    for number in range(14):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, 400)))
        bars = {"open": close * rng.uniform(0.99, 1.01, 400), "high": close * 1.02, "low": close * 0.98, "close": close}
        keys = {"date": pd.bdate_range("2020-01-01", periods=400), "symbol": f"S{number}"}
        frames.append(pd.DataFrame({**keys, **bars, "volume": rng.integers(10_000, 90_000, 400)}))
    pd.concat(frames).sort_values(["date", "symbol"]).to_parquet(file, index=False)
    return file


def test_a_moved_state_folder_reports_syncs_predicts_and_registers(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, data = tmp_path / "old", tmp_path / "new", str(prices(tmp_path / "prices.parquet"))
    space = tmp_path / "tiny.yaml"
    space.write_text(TINY_SPACE)
    monkeypatch.setenv("HPO_DATABASE_URL", database_url)

    def said(home: Path, word: str, *more: str) -> str:
        monkeypatch.setenv("HPO_HOME", str(home))
        code = main([word, f"study={NAME}", *more])
        shown = capsys.readouterr()
        assert code == 0, shown.out + shown.err
        return shown.out

    # In a process of its own: MLflow remembers for a process's life where a run's artifacts lie.
    words = (f"study={NAME}", "trials=2", "--space", str(space), "--data", data)
    begun = hpo(old, "run", *words, HPO_DATABASE_URL=database_url)
    assert begun.returncode == 0, begun.stderr
    os.rename(old, new)

    said(new, "best", "--format", "yaml")
    assert "Report:" in said(new, "report")
    synced = said(new, "sync")
    assert f"registered in MLflow as models:/tiertune-{NAME}/1" in synced
    assert "MLflow is up to date" in synced
    scores = tmp_path / "scores.csv"
    said(new, "predict", "--data", data, "--output", str(scores), "--all")
    assert len(pd.read_csv(scores)) > 0
    assert "BROKEN" not in said(new, "doctor")
    assert not old.exists(), "something was written where the folder was"
    client = MlflowClient(url_for(database_url, "mlflow"))
    source = client.get_model_version(f"tiertune-{NAME}", "1").source
    assert source.startswith(f"{new.as_uri()}/mlflow-artifacts/")
    assert Path(source.removeprefix("file://"), "MLmodel").exists()
