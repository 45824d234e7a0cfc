"""A run is scored on the holdout and asked for new scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.__main__ import main

SETTINGS = ["model=mlp", "model.window=4", "data.horizons=[1,5]", "train.epochs=1", "train.device=cpu"]


def panel(path: Path, days: int = 300) -> Path:
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2020-01-01", periods=days)
    stocks = []
    for number in range(12):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 400)))[:days]
        bars = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
        stocks.append(pd.DataFrame({"date": dates, "symbol": f"S{number:02d}", **bars, "volume": 1e6}))
    pd.concat(stocks).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a panel and a run trained on it."""
    folder = tmp_path_factory.mktemp("home")
    source = panel(folder / "prices.parquet")
    words = [*SETTINGS, f"data.source={source}", "--folder", str(folder / "run"), "--cache", str(folder / "cache")]
    assert main(words) == 0
    return folder


def test_the_holdout_is_opened_on_request_alone_and_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["score", str(home / "run"), "--cache", str(home / "cache")]
    assert main(words) == 0
    assert "add --holdout to open the holdout" in capsys.readouterr().out
    assert not (home / "run" / "holdout.json").exists()
    for number in ("1 time", "2 times"):
        assert main([*words, "--holdout"]) == 0
        assert f"has now been looked at on {number}:" in capsys.readouterr().out
    openings = json.loads((home / "run" / "holdout.json").read_text())["openings"]
    assert openings[0]["metrics"] == openings[1]["metrics"]
    assert "ic_5d" in openings[0]["metrics"]


def test_data_that_changed_since_are_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "run"
    words = [
        *SETTINGS,
        f"data.source={panel(tmp_path / 'p.parquet')}",
        "--folder",
        str(other),
        "--cache",
        str(tmp_path),
    ]
    assert main(words) == 0
    panel(tmp_path / "p.parquet", days=310)
    assert main(["score", str(other), "--holdout", "--cache", str(tmp_path)]) == 2
    assert "has changed since" in capsys.readouterr().err
    assert not (other / "holdout.json").exists()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_new_days_are_scored(home: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / f"scores{suffix}"
    words = ["predict", str(home / "run"), "--data", str(home / "prices.parquet"), "--output", str(output)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "served as look-back alone" in said
    table = pd.read_parquet(output) if suffix == ".parquet" else pd.read_csv(output)
    assert list(table.columns) == ["date", "symbol", "score_1d", "score_5d"]
    assert main([*words, "--all"]) == 0
    everything = pd.read_parquet(output) if suffix == ".parquet" else pd.read_csv(output)
    assert len(everything) > len(table)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "prices.parquet", "--output", "scores.txt"], "must end in .parquet or .csv"),
        (["--data", "nowhere.parquet"], "there is no such file or folder"),
        (["--data", "prices.parquet", "--output", "prices.parquet"], "is a part of the data themselves"),
    ],
)
def test_files_that_cannot_be_meant_are_refused(
    words: list[str], sentence: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert main(["predict", "run", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["score"], "takes the folder of one run"),
        (["predict", "run"], "the file is missing"),
        (["diagnose", "-m", "optim.lr=1,2"], "--multirun trains; it does not go with 'diagnose'"),
        (["--resume", "a", "--from", "b"], "--resume does not go with --from"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert sentence in capsys.readouterr().err


def test_a_run_is_looked_into(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(home / "run"), "--cache", str(home / "cache")]) == 0
    told = capsys.readouterr().out
    assert "1 epoch: a curve is judged from 4 on." in told
    assert "layers, after epoch 1" in told
    assert (home / "run" / "diagnose.png").stat().st_size > 1000


def test_another_panel_than_the_runs_is_not_looked_into(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = (home / "prices.parquet").read_bytes()
    panel(home / "prices.parquet", days=280)
    assert main(["diagnose", str(home / "run"), "--cache", str(tmp_path)]) == 2
    assert "has changed since" in capsys.readouterr().err
    (home / "prices.parquet").write_bytes(kept)


def test_a_folder_without_a_run_is_no_run_to_look_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path)]) == 2
    assert "is no folder of a training" in capsys.readouterr().err
