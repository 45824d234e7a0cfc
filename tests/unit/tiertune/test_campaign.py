"""A campaign from Python: started, looked at, continued, and asked for scores, on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tiertune

SPACE = """
settings: {model.kind: linear, model.window: 3}
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-3, high: 1.0e-1, log: true, default: 1.0e-2}
"""
SETTINGS = {"trainer.train.epochs": 2, "trainer.data.horizons": [1, 5]}


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    """Fourteen stocks for 440 days."""
    random, days = np.random.default_rng(1), pd.bdate_range("2020-01-01", periods=440)
    close = 50 * np.exp(random.normal(0, 0.02, (len(days), 14)).cumsum(axis=0))
    bars = {"open": close, "high": 1.01 * close, "low": 0.99 * close, "close": close}
    return pd.DataFrame(
        {
            "date": np.repeat(days, 14),
            "symbol": np.tile([f"S{number}" for number in range(14)], len(days)),
            **{name: values.ravel() for name, values in bars.items()},
            "volume": random.integers(10_000, 90_000, close.size).astype(float),
        }
    )


@pytest.fixture(scope="module", autouse=True)
def home(session_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("python")
    (folder / "space.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_DATABASE_URL", session_database_url)
        patch.setenv("HPO_HOME", str(folder / "home"))
        yield folder


@pytest.fixture(scope="module")
def campaign(prices: pd.DataFrame, home: Path) -> tiertune.Campaign:
    return tiertune.run(prices, trials=2, name="from-python", space=home / "space.yaml", settings=SETTINGS)


def test_every_trial_is_a_row_with_what_it_was_given(campaign: tiertune.Campaign) -> None:
    trials = campaign.trials()
    assert trials["trial"].tolist() == [1, 2]
    assert trials["params.optim.lr"].between(1e-3, 1e-1).all()
    assert (trials["finished_at"] >= trials["started_at"]).all()  # to the second
    assert (trials["seconds"] > 0).all()
    assert str(trials["started_at"].dtype).endswith("UTC]")
    assert campaign.state == "complete"
    assert tiertune.open("from-python") == campaign
    listed = tiertune.campaigns().set_index("name").loc["from-python"]
    assert (listed["done"], listed["budget"], listed["space"]) == (2, 2, "space.yaml")


def test_the_best_trial_comes_with_its_settings(campaign: tiertune.Campaign) -> None:
    best, trials = campaign.best, campaign.trials().set_index("trial")
    assert best.score == trials["score"][best.number]
    assert best.parameters == {"optim.lr": trials["params.optim.lr"][best.number]}
    assert best.settings["model"]["kind"] == "linear"
    assert f"trial {best.number}, validation score {best.score:+.4f}" in campaign.summary()


def test_the_report_is_a_page_and_figures(
    campaign: tiertune.Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = campaign.report(tmp_path)
    assert report.path.parent == tmp_path
    assert str(report).startswith("Recommendation: ")
    assert "Scoring the holdout" in capsys.readouterr().out
    assert report.figures["campaign"] == "from-python"
    page = report._repr_html_()
    assert page.startswith("<iframe srcdoc=")
    assert "<!doctype html>" not in page.lower(), "the page within the attribute is escaped"
    assert len(repr(report)) < 500


def test_scores_of_a_table_are_a_table(campaign: tiertune.Campaign, prices: pd.DataFrame) -> None:
    scores = campaign.predict(prices)
    assert scores.columns.tolist() == ["date", "symbol", "score_1d", "score_5d"]
    assert scores["date"].max() == prices["date"].max()
    everything = campaign.predict(prices, everything=True, trial=1)
    assert len(everything) > len(scores)


def test_what_is_deployed_is_compared_with_a_trial(campaign: tiertune.Campaign) -> None:
    found = campaign.compare(1, trial=2)
    assert set(found["window"]) == {"validation", "holdout"}
    row = found[(found["window"] == "holdout") & (found["metric"] == "rank_ic")].iloc[0]
    assert row["difference"] == pytest.approx(row["first"] - row["second"], abs=1e-9)
    assert row["low"] < row["difference"] < row["high"]


def test_the_same_call_goes_on_and_a_larger_budget_continues(
    campaign: tiertune.Campaign, prices: pd.DataFrame, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tiertune.run(prices, trials=2, name="from-python", space=home / "space.yaml", settings=SETTINGS)
    assert again == campaign
    assert "nothing was trained" in capsys.readouterr().out
    assert len(campaign.resume(trials=3).trials()) == 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda campaign: tiertune.open("from-pythn"), "Did you mean 'from-python'"),
        (lambda campaign: tiertune.run(settings={"trainer.train.epoch": 3}), "Did you mean 'trainer.train.epochs'"),
        (lambda campaign: tiertune.run(trials=0), "trials"),
        (lambda campaign: tiertune.run(space="quickstrt"), "quickstart"),
        (lambda campaign: tiertune.run(pd.DataFrame({"a": [1]}), name="no-prices"), "column 'date' is missing"),
        (lambda campaign: campaign.predict("no.parquet"), "there is no such file"),
        (lambda campaign: campaign.compare(99), "trials 1 to"),
    ],
    ids=["name", "setting", "trials", "space", "columns", "file", "trial"],
)
def test_what_is_wrong_is_said_in_one_sentence(call: object, said: str, campaign: tiertune.Campaign) -> None:
    with pytest.raises(tiertune.Error, match=said) as caught:
        call(campaign)  # type: ignore[operator]  # a function of the campaign
    assert "\n" not in str(caught.value)


def test_a_budget_in_epochs_from_python(prices: pd.DataFrame, home: Path) -> None:
    started = tiertune.run(prices, epochs=4, name="epochs", space=home / "space.yaml", settings=SETTINGS)
    assert len(started.trials()) == 2
    assert len(started.resume(epochs=6).trials()) == 3
    with pytest.raises(tiertune.Error, match="the campaign's budget is in epochs"):
        started.resume(trials=9)
