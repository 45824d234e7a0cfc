"""A model, a loss and a metric of a user's: searched over three tiers, killed, resumed, reported, asked, watched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpo.cli import main

OWN = Path(__file__).parents[1] / "support" / "own"
SYMBOLS, DAYS = 12, 320


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with their model, their loss and metric, a space, and prices."""
    for name in ("lagged.py", "judgement.py", "lagged.yaml"):
        shutil.copy(OWN / name, tmp_path / name)
    rng, dates = np.random.default_rng(5), pd.bdate_range("2021-01-04", periods=DAYS)
    closes = {f"S{n:02d}": 50 * np.exp(rng.normal(0, 0.02, DAYS).cumsum()) for n in range(SYMBOLS)}
    bars = [
        pd.DataFrame({"date": dates, "symbol": name, **dict.fromkeys(("open", "high", "low", "close"), close)})
        for name, close in closes.items()
    ]
    table = pd.concat(bars).assign(volume=rng.integers(10_000, 90_000, SYMBOLS * DAYS))
    table.to_parquet(tmp_path / "prices.parquet", index=False)
    return tmp_path


@pytest.fixture(autouse=True)
def here(folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell in that folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HPO_HOME", str(folder / "home"))
    monkeypatch.setenv("HPO_DATABASE_URL", database_url)


def run_and_kill(log: Path, *words: str) -> None:
    """`hpo run`, killed with all its processes once the third trial has begun."""
    begun = Path("home/runs/mine/slot-0003")
    with log.open("wb") as said:
        command = [sys.executable, "-P", "-m", "hpo", "run", *words]
        running = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    deadline = time.monotonic() + 300
    while not begun.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert begun.exists(), log.read_text()


def test_a_model_of_ones_own_is_searched_killed_resumed_reported_and_asked(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("study=mine", "trials=5", "--space", "lagged.yaml", "--data", "prices.parquet")
    run_and_kill(folder / "log", *words, "trainer.data.horizons=[1,5]", "objective=hit_rate_5d")

    (folder / "helper.py").write_text("# beside the model, and no part of it\n")
    assert main(["resume", "study=mine"]) == 0
    assert "[5/5]" in capfd.readouterr().out
    tried = [json.loads(file.read_text()) for file in folder.glob("home/runs/mine/slot-*/*/config.json")]
    for values in (
        {each["model"]["own"]["width"] for each in tried},
        {each["model"]["own"]["dropout"] for each in tried},
        {each["loss"]["own"] for each in tried},
    ):
        assert len(values) > 1
    written = "".join(file.read_text() for file in folder.glob("home/runs/mine/slot-*/*/metrics.jsonl"))
    assert written.count('"train/loss_own"') == written.count('"train/loss"') > 0
    report = json.loads((folder / "home/reports/mine/report.json").read_text())
    assert (folder / "home/reports/mine/report.html").exists()
    assert "hit_rate" in json.dumps(report["sections"]["answer"])

    assert main(["predict", "study=mine", "--data", "prices.parquet", "--all", "--output", "out.csv"]) == 0
    scores = pd.read_csv("out.csv")
    assert set(scores["symbol"]) == {f"S{n:02d}" for n in range(SYMBOLS)}
    assert scores.groupby("date")["score_5d"].std().gt(0).all()

    with (folder / "judgement.py").open("a") as file:
        file.write("# changed\n")
    assert main(["resume", "study=mine", "trials=7"]) == 2
    assert "started with: code" in capfd.readouterr().err

    assert main(["delete", "mine"]) == 2, "nobody is there to agree"
    assert main(["delete", "mine", "--yes"]) == 0
    left = [path for path in (folder / "home").rglob("*") if "mine" in str(path.relative_to(folder / "home"))]
    assert left == []
    assert list((folder / "home/optuna-artifacts").iterdir()) == []
    assert main(["status", "mine"]) == 2
    assert "There is no campaign yet" in capfd.readouterr().err
