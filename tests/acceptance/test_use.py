"""What comes after a search, as a user does it: real processes, a campaign of real trainings on a file of prices."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import inspect, text
from support.command import TINY_SPACE, clean_environment, hpo

from hpo.adapters.postgres.database import engine_for
from hpo.adapters.postgres.urls import parse
from hpo.cli import main
from trainer.__main__ import compose_config
from trainer.data import open_holdout
from trainer.scoring.committee import open_scorer
from trainer.training import checkpoint

NUM_DAYS, NUM_KNOWN = 440, 400
PASSWORD = "s3cret-w0rd"


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen stocks: `known.parquet` for the search, `new.parquet` with forty more days behind it."""
    rng = np.random.default_rng(5)
    dates = pd.bdate_range("2021-01-04", periods=NUM_DAYS)
    frames = []
    for number in range(16):
        close = 50 * np.exp(rng.normal(0, 0.02, NUM_DAYS).cumsum())
        opened = close * np.exp(rng.normal(0, 0.004, NUM_DAYS))
        bars = {"open": opened, "high": np.maximum(opened, close) * 1.01, "low": np.minimum(opened, close) * 0.99}
        volume = rng.integers(10_000, 90_000, NUM_DAYS)
        frames.append(
            pd.DataFrame({"date": dates, "symbol": f"S{number:02d}", **bars, "close": close, "volume": volume})
        )
    table = pd.concat(frames).sort_values(["date", "symbol"])
    folder = tmp_path_factory.mktemp("prices")
    table.to_parquet(folder / "new.parquet", index=False)
    table[table["date"] < dates[NUM_KNOWN]].to_parquet(folder / "known.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def database(session_database_url: str) -> str:
    """A URL with a password, which this server does not ask for and which must turn up nowhere."""
    return parse(session_database_url).set(password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def home(prices: Path, database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the complete campaign `used` of four trials."""
    folder = tmp_path_factory.mktemp("use") / "home"
    space = tmp_path_factory.mktemp("space") / "tiny.yaml"
    space.write_text(TINY_SPACE, encoding="utf-8")
    words = ["study=used", "trials=4", "--space", str(space), "--data", str(prices / "known.parquet")]
    done = hpo(folder, "run", *words, "trainer.data.horizons=[1,5]", timeout=500, HPO_DATABASE_URL=database)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return folder


@pytest.fixture
def said(home: Path, database: str) -> Callable[..., str]:
    """Runs `hpo` in that state folder; what it says."""

    def run(*words: str) -> str:
        done = hpo(home, *words, HPO_DATABASE_URL=database)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def champion(home: Path, said: Callable[..., str]) -> Path:
    """The run folder of the champion."""
    return home / json.loads(said("status", "study=used"))["champion"]["run_folder"]


def test_the_champion_retrains_to_the_same_bits(
    home: Path, said: Callable[..., str], champion: Path, tmp_path: Path
) -> None:
    """In each form in which `hpo best` gives its configuration it is the same one."""
    words = said("best", "study=used", "--format", "hydra").split()  # as `trainer $(hpo best --format hydra)` does
    for form in ("yaml", "json"):
        file = tmp_path / f"best.{form}"
        file.write_text(said("best", "study=used", "--format", form), encoding="utf-8")
        assert compose_config([], file) == compose_config(words)
    again = tmp_path / "again"
    trained = subprocess.run(
        [sys.executable, "-m", "trainer", *words, "--folder", str(again)],
        env=clean_environment(home),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    lines = (champion / "metrics.jsonl").read_text().splitlines()
    expected = [json.loads(line)["score"] for line in lines]
    assert [report["score"] for report in checkpoint.load(again / "last.pt")["reports"]] == expected
    assert len(expected) == 3


@pytest.mark.parametrize(
    "words",
    ["list", "trials used", "status used", "show used", "best used", "compare used#1 used#2", "doctor used", "spaces"],
)
def test_programs_get_one_json_document(said: Callable[..., str], words: str) -> None:
    assert json.loads(said(*words.split(), "--format", "json"))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_days_after_the_search_are_scored_as_the_trainer_scores_them(
    home: Path, said: Callable[..., str], champion: Path, prices: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"scores{suffix}"
    told = said("predict", "study=used", "--data", str(prices / "new.parquet"), "--output", str(output))
    assert "served as look-back alone" in told
    given = pd.read_parquet(output) if suffix == ".parquet" else pd.read_csv(output, parse_dates=["date"])
    assert given["date"].max() == pd.read_parquet(prices / "new.parquet")["date"].max()

    members = json.loads(said("status", "study=used"))["champion"]["members"]
    scorer = open_scorer(home / "runs/used/committee.json" if len(members) > 1 else champion / "model.pt", "cpu")
    assert given["date"].min() > pd.Timestamp(scorer.last_day)
    (folder,) = (home / "cache").glob("*/holdout")
    data = open_holdout(folder)
    scores = scorer.score(data.panel, data.days)
    days, stocks = np.nonzero(np.isfinite(scores).all(axis=2))
    ours = pd.DataFrame({"date": data.panel.dates[data.days][days], "symbol": np.array(data.panel.symbols)[stocks]})
    both = ours.assign(one=scores[days, stocks, 0]).merge(given, on=["date", "symbol"])
    assert len(both) == len(ours) > 0
    np.testing.assert_allclose(both["score_1d"], both["one"], atol=1e-5)


def drop(column: str) -> Any:
    return lambda table: table.drop(columns=column)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("volume"), "column 'volume' is missing"),
        (lambda table: table[table["date"] < table["date"].unique()[300]], "would be looking ahead"),
        (lambda table: table[table["date"] >= table["date"].unique()[-40]], "give the days before them too"),
        (lambda table: table[table["symbol"] < "S03"], "fewer than 10 stocks are usable"),
        (lambda table: table[:0], "holds no rows"),
        (lambda table: table.assign(close=-1.0), "prices must be positive"),
    ],
    ids=["a missing column", "look-ahead", "no history", "nothing to rank", "empty", "impossible prices"],
)
def test_data_that_do_not_fit_are_refused_in_a_sentence(
    home: Path,
    database: str,
    prices: Path,
    tmp_path: Path,
    change: Any,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HPO_HOME", str(home))
    monkeypatch.setenv("HPO_DATABASE_URL", database)
    change(pd.read_parquet(prices / "new.parquet")).to_parquet(tmp_path / "bad.parquet", index=False)
    arguments = ["--data", str(tmp_path / "bad.parquet"), "--output", str(tmp_path / "scores.csv")]
    assert main(["predict", "study=used", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1, said
    assert not (tmp_path / "scores.csv").exists()


def test_two_trials_are_compared_on_the_days_they_share(said: Callable[..., str]) -> None:
    lines = said("compare", "used#2", "used#1").splitlines()
    assert lines[0].startswith("A  used#2, ")
    assert lines[1].startswith("B  used#1, ")
    assert any(line.startswith("validation, ") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_trial_is_not_compared_with_itself(home: Path, database: str) -> None:
    refused = hpo(home, "compare", "used#1", "used#1", HPO_DATABASE_URL=database)
    assert refused.returncode == 2
    assert refused.stderr == "hpo: 'used#1' and 'used#1' are both trial 1 of 'used'; name two different trials.\n"


def test_a_watched_campaign_that_is_complete_is_shown_once(said: Callable[..., str]) -> None:
    (line,) = said("status", "study=used", "--watch").splitlines()
    record = json.loads(line)
    assert (record["state"], record["done"], record["budget"]) == ("complete", 4, 4)


def test_the_databases_password_is_written_nowhere(home: Path, database: str) -> None:
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    engine = engine_for(database)
    with engine.connect() as connection:
        for schema in ("hpo", "mlflow", "optuna"):
            names = inspect(connection).get_table_names(schema)
            assert names
            for name in names:
                rows = text(f"SELECT count(*) FROM {schema}.{name} AS row WHERE row::text LIKE :word")
                assert connection.scalar(rows, {"word": f"%{PASSWORD}%"}) == 0, f"{schema}.{name}"
    engine.dispose()
