"""Whole campaigns of trainings of a user's own: a regressor on a CSV and a function, pruned, killed, resumed, used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from support.command import clean_environment

OWN = Path(__file__).parents[1] / "support" / "own"
PRUNER = ("pruner.name=median", "pruner.options.n_startup_trials=1", "pruner.options.n_warmup_steps=1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with their files."""
    shutil.copytree(OWN, tmp_path / "own")
    load_diabetes(as_frame=True).frame.to_csv(tmp_path / "own" / "houses.csv", index=False)
    return tmp_path / "own"


def command(folder: Path, database: str, *words: str) -> subprocess.Popen[str]:
    environment = clean_environment(folder / "home", HPO_DATABASE_URL=database)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "hpo", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said(running: subprocess.Popen[str]) -> str:
    output, _ = running.communicate(timeout=900)
    assert running.returncode == 0, output
    return output


@pytest.mark.parametrize("name", ["houses:Houses", "descent:train"])
def test_a_training_of_ones_own_runs_a_whole_campaign(name: str, folder: Path, database_url: str) -> None:
    module = name.partition(":")[0]
    data = ("--data", "houses.csv") if module == "houses" else ()
    words = (f"trainable={name}", "trials=12", "study=own", "--space", f"{module}.yaml", *data, *PRUNER)
    first = command(folder, database_url, "run", *words)
    log = folder / "home" / "runs" / "own" / "slot-0003"
    deadline = time.monotonic() + 600
    while not log.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()

    resumed = said(command(folder, database_url, "resume", "study=own"))
    assert "[12/12]" in resumed
    report = json.loads((folder / "home" / "reports" / "own" / "report.json").read_text())
    if module == "houses":
        assert "pruned after epoch" in resumed
        value = report["sections"]["answer"]["facts"]["holdout"]["value"]
        assert value["low"] < value["estimate"] < value["high"]
        assert report["finding"] in ("better", "same"), report["verdict"]
        # Whoever is champion; the deflated score is of a gain over the default, which the default itself has not.
        assert 0 <= report["sections"]["luck"]["facts"]["overfitting_probability"]["value"] <= 1
        assert "registered in MLflow" in resumed
        said(command(folder, database_url, "predict", "study=own", "--data", "houses.csv", "--output", "out.csv"))
        assert len(pd.read_csv(folder / "out.csv")["prediction"]) == 442
    else:
        assert "reported without a series" in report["verdict"]
    said(command(folder, database_url, "doctor", "study=own"))

    with (folder / f"{module}.py").open("a") as file:
        file.write("# changed\n")
    changed = command(folder, database_url, "resume", "study=own", "trials=13")
    output, _ = changed.communicate(timeout=300)
    assert changed.returncode == 2, output
    assert "code" in output
