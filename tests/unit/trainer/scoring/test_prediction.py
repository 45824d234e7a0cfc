"""From new rows to scores: the same as the trainer's own, out of sample, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from trainer.config import TrainerConfig
from trainer.data import open_holdout, open_training, prepare
from trainer.errors import InputError
from trainer.reports import EpochReport, Verdict
from trainer.scoring.prediction import predict
from trainer.scoring.scorer import Scorer, load_scorer
from trainer.training.loop import fit

NUM_DAYS = 420


class Silent:
    def report(self, report: EpochReport) -> Verdict:
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.CONTINUE


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2020-01-01", periods=NUM_DAYS)
    frames = []
    for number in range(14):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, NUM_DAYS)))
        opened = close * np.exp(rng.normal(0, 0.004, NUM_DAYS))
        bars = {"open": opened, "high": np.maximum(opened, close) * 1.01, "low": np.minimum(opened, close) * 0.99}
        volume = rng.integers(10_000, 90_000, NUM_DAYS)
        sector = "abc"[number % 2]
        frames.append(
            pd.DataFrame(
                {"date": dates, "symbol": f"S{number}", **bars, "close": close, "volume": volume, "sector": sector}
            )
        )
    return pd.concat(frames).sort_values(["date", "symbol"], ignore_index=True)


@pytest.fixture(scope="module")
def trained(prices: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scorer, Path]:
    """A model with a graph across stocks, whose neighbours depend on returns and sectors; and its holdout."""
    folder = tmp_path_factory.mktemp("trained")
    source = folder / "prices.parquet"
    prices.to_parquet(source, index=False)
    model = {"kind": "atft_gat_fan", "window": 4, "hidden_size": 8, "num_heads": 2, "num_layers": 1}
    config = TrainerConfig.model_validate(
        {
            "data": {"source": str(source), "horizons": (1, 5)},
            "model": {**model, "num_neighbours": 3},
            "train": {"epochs": 1, "device": "cpu", "precision": "fp32", "threads": 1},
        }
    )
    data = prepare(config.data, config.model.window, folder / "cache")
    fit(config, open_training(data.search), Silent(), folder)
    return load_scorer(folder / "model.pt", device="cpu"), data.holdout


def test_scores_after_the_search_are_the_holdouts(prices: pd.DataFrame, trained: tuple[Scorer, Path]) -> None:
    scorer, folder = trained
    holdout = open_holdout(folder)
    expected = scorer.score(holdout.panel, holdout.days)
    made = predict(prices, scorer, after=scorer.last_day)
    assert list(made.table.columns) == ["date", "symbol", "score_1d", "score_5d"]
    first = holdout.panel.dates[holdout.days.start]
    assert made.table["date"].min() == first > scorer.last_day
    assert made.num_context_days == NUM_DAYS - len(holdout.days)
    assert made.num_short_days == 0
    wide = made.table.pivot(index="date", columns="symbol", values="score_5d")[list(holdout.panel.symbols)]
    np.testing.assert_allclose(wide.to_numpy(), expected[:, :, 1], atol=1e-5)


def test_a_file_and_a_frame_give_the_same(prices: pd.DataFrame, trained: tuple[Scorer, Path], tmp_path: Path) -> None:
    prices.to_csv(tmp_path / "prices.csv", index=False)
    from_file = predict(str(tmp_path / "prices.csv"), trained[0], after=trained[0].last_day).table
    pd.testing.assert_frame_equal(from_file, predict(prices, trained[0], after=trained[0].last_day).table, atol=1e-5)


def test_frames_in_any_form_and_arrow_tables_give_the_same(prices: pd.DataFrame, trained: tuple[Scorer, Path]) -> None:
    late, after = prices[prices["date"] > "2020-03-01"], trained[0].last_day
    expected = predict(late, trained[0], after=after).table
    keyed = late.set_index(["date", "symbol"])
    for rows in (keyed, keyed.unstack("symbol"), pa.Table.from_pandas(late, preserve_index=False)):
        pd.testing.assert_frame_equal(predict(rows, trained[0], after=after).table, expected)


def test_members_alone_are_ranked_where_the_model_learnt_from_members(
    prices: pd.DataFrame, trained: tuple[Scorer, Path], tmp_path: Path
) -> None:
    file = tmp_path / "members.csv"
    file.write_text("symbol,from,to\n" + "".join(f"S{number},,\n" for number in range(1, 14)))
    data = trained[0].config.data.model_copy(update={"membership": str(file)})
    scorer = replace(trained[0], config=trained[0].config.model_copy(update={"data": data}))
    made = predict(prices, scorer, after=scorer.last_day).table
    assert "S0" not in set(made["symbol"])
    column = prices.assign(universe=prices["symbol"] != "S0")
    pd.testing.assert_frame_equal(predict(column, trained[0], after=scorer.last_day).table, made)
    file.unlink()
    pd.testing.assert_frame_equal(predict(column, scorer, after=scorer.last_day).table, made)
    with pytest.raises(InputError, match=r"data.membership=.*: there is no such file"):
        predict(prices, scorer, after=scorer.last_day)


def test_without_a_limit_every_usable_day_is_scored(prices: pd.DataFrame, trained: tuple[Scorer, Path]) -> None:
    made = predict(prices, trained[0])
    assert made.num_context_days == 0
    assert made.table["date"].min() < trained[0].last_day
    assert made.num_short_days > 250, "the first year has no twelve-month momentum"


def test_days_that_were_learnt_from_are_refused(prices: pd.DataFrame, trained: tuple[Scorer, Path]) -> None:
    past = prices[prices["date"] <= trained[0].last_day]
    with pytest.raises(InputError, match=rf"learnt from the days up to {trained[0].last_day}.*looking ahead"):
        predict(past, trained[0], after=trained[0].last_day)


def test_another_schema_is_refused_by_column(prices: pd.DataFrame, trained: tuple[Scorer, Path]) -> None:
    with pytest.raises(InputError, match="cannot give return_1d_in_sector"):
        predict(prices.drop(columns="sector"), trained[0])
    with pytest.raises(InputError, match="column 'close' is missing"):
        predict(prices.drop(columns="close"), trained[0])
    with pytest.raises(InputError, match="close is -1, but prices must be positive"):
        predict(prices.assign(close=-1.0), trained[0])
    with pytest.raises(InputError, match="holds no rows"):
        predict(prices[:0], trained[0])
    with pytest.raises(InputError, match="fewer than 10 stocks are usable"):
        predict(prices[prices["symbol"].isin(["S1", "S2"])], trained[0], after=trained[0].last_day)
    more = predict(prices.assign(another=np.arange(len(prices))), trained[0], after=trained[0].last_day)
    assert len(more.table) > 0, "a column that the model does not read is passed over"


def test_too_short_a_history_is_refused(prices: pd.DataFrame, trained: tuple[Scorer, Path]) -> None:
    late = prices[prices["date"] >= prices["date"].unique()[NUM_DAYS - 100]]
    with pytest.raises(InputError, match="has 100 days, and momentum_12_1 looks back 253"):
        predict(late, trained[0])
