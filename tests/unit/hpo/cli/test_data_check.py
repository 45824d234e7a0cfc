"""`hpo data check`: what it says of a made panel is what pandas counts in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpo.cli import EXIT_DONE, EXIT_INPUT, main

DAYS, STOCKS, HISTORY, WITHIN = 170, 14, 20, 60
HORIZONS = (1, 5)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def panel(home: Path) -> pd.DataFrame:
    """With gaps, a late listing, a delisting, an empty open, sectors that change, and two columns to leave out."""
    rng = np.random.default_rng(3)
    close = 50 * np.exp(np.cumsum(0.02 * rng.standard_normal((STOCKS, DAYS)), axis=1)).ravel()
    opened = close * np.exp(0.005 * rng.standard_normal(close.shape))
    table = pd.DataFrame(
        {
            "Date": np.tile(pd.bdate_range("2020-01-01", periods=DAYS), STOCKS),
            "Ticker": np.repeat([f"S{number:02d}" for number in range(STOCKS)], DAYS),
            "Open": opened,
            "High": np.maximum(opened, close) * 1.01,
            "Low": np.minimum(opened, close) * 0.99,
            "Close": close,
            "Volume": rng.integers(1000, 9000, close.shape),
            "Dividends": 0.0,
            "note": "x",
        }
    )
    table["sector"] = np.where(table["Date"] < "2020-04-01", "tools", "games")
    table.loc[7, "Open"] = np.nan
    days = table["Date"].rank(method="dense").to_numpy() - 1
    late, gone = table["Ticker"].eq("S01") & (days < 40), table["Ticker"].eq("S02") & (days > 100)
    kept = table[~late & ~gone & (rng.random(len(table)) > 0.02)]
    kept.to_csv(home / "prices.csv", index=False)
    return kept


def check(*words: str) -> int:
    return main(["data", "check", *words, "data.horizons=[1,5]", "trainer.model.window=4"])


def numbers(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"(?<![\w.-])\d[\d,]*(?![\w.-])", text)]


def lines_of(capsys: pytest.CaptureFixture[str], label: str) -> list[str]:
    return [line.removeprefix(label).strip() for line in capsys.readouterr().out.splitlines() if line.startswith(label)]


def test_the_summary_is_what_pandas_counts(panel: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("prices.csv") == EXIT_DONE
    said = capsys.readouterr().out
    close = panel.pivot(index="Date", columns="Ticker", values="Close")
    usable = close.notna() & (close.notna().rolling(WITHIN, min_periods=1).sum() >= HISTORY)
    a_day, num_usable = usable.sum(axis=1), int(usable.to_numpy().sum())
    assert f"Days      {DAYS} from {panel['Date'].min():%Y-%m-%d} to {panel['Date'].max():%Y-%m-%d}" in said
    stocks = f"{STOCKS}, 2 sectors; usable on a day: {int(a_day.median())} in the median, 0 to {a_day.max()}"
    assert f"Stocks    {stocks}" in said
    short = len(panel) - num_usable
    assert f"Rows      {len(panel):,}, of which {num_usable:,} are usable; not usable: {short:,} with too short" in said
    position = pd.DataFrame(np.where(close.notna(), np.arange(DAYS)[:, None], np.nan)).ffill().to_numpy()
    for horizon in HORIZONS:
        ahead = np.full(close.shape, np.nan)
        ahead[:-horizon] = position[horizon:]
        labelled = usable.to_numpy() & (ahead > np.arange(DAYS)[:, None])
        early = labelled & close.shift(-horizon).isna().to_numpy()
        (line,) = [line for line in said.splitlines() if line.startswith(f"Labels    {horizon}d:")]
        assert numbers(line) == [labelled.sum(), early.sum(), num_usable - labelled.sum()]
    alive = close.ffill().notna() & close.bfill().notna()
    gaps = alive & close.isna()
    assert f"Warning: Missing stock-days between a stock's first and last row: {int(gaps.to_numpy().sum()):,}, " in said
    assert f", of {int(gaps.any().sum())} of the stocks." in said
    assert "Warning: Rows without open: 1." in said
    assert "Dividends (a payment, not a feature), note (text)" in said
    assert "Date, Ticker, Open" not in lines_of(capsys, "Warning")


def test_rows_without_a_sector_are_counted(panel: pd.DataFrame, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = panel["Ticker"].isin(["S03", "S04"]) & (panel["Date"] < "2020-03-02")
    panel.assign(sector=panel["sector"].mask(unknown)).to_csv("prices.csv", index=False)
    assert check("prices.csv") == EXIT_DONE
    said = capsys.readouterr().out
    assert f"2 sectors and {int(unknown.sum())} rows without one, which form a group of their own; usable" in said


def test_a_membership_file_is_counted(panel: pd.DataFrame, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spells = "symbol,from,to\n" + "".join(f"S{number:02d},,\n" for number in range(2, STOCKS))
    (home / "members.csv").write_text(f"{spells}S00,2020-03-02,\nXX,,\n")
    assert check("prices.csv", "data.membership=members.csv") == EXIT_DONE
    said = capsys.readouterr().out
    outside = panel["Ticker"].eq("S01") | (panel["Ticker"].eq("S00") & (panel["Date"] < "2020-03-02"))
    assert f"not usable: {int(outside.sum())} outside the universe" in said
    assert "1 symbols of data.membership=" in said
    assert "(XX): if they were delisted" in said
    assert "1 symbols of the panel are never members (S01)" in said


def test_what_cannot_be_used_ends_with_one_sentence(panel: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    later = panel.groupby("Ticker")["Close"].shift(-2) / panel["Close"] - 1
    panel.assign(alpha_7=later).to_csv("leak.csv", index=False)
    assert check("leak.csv") == EXIT_INPUT
    said = capsys.readouterr().err
    assert "feature 'alpha_7'" in said
    assert "it contains the answer" in said


def test_programs_get_the_summary_as_one_json_document(panel: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("prices.csv", "--format", "json") == EXIT_DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["stocks"], found["days"]) == (panel["Ticker"].nunique(), panel["Date"].nunique())
    assert any("Dividends" in warning for warning in found["warnings"]) or "Dividends" in json.dumps(found)
