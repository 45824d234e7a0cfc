"""Files are read as they are meant, in both namings and formats, and refused in one sentence."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.data.reading import load
from trainer.errors import InputError

Bars = Callable[..., pd.DataFrame]
Write = Callable[..., str]

J_QUANTS = {"date": "Date", "symbol": "Code", "open": "Open", "high": "High", "low": "Low", "close": "Close"}


@pytest.mark.parametrize("name", ["prices.parquet", "prices.csv"])
def test_reads_every_value_into_its_place(bars: Bars, write: Write, name: str) -> None:
    table = bars(days=30, stocks=11).drop(index=[40, 41])
    market = load(write(table, name))
    wide = table.pivot(index="date", columns="symbol", values="close")
    assert market.symbols == tuple(wide.columns)
    assert [str(day) for day in market.dates] == list(wide.index)
    np.testing.assert_array_equal(market.read("close"), wide.to_numpy())
    np.testing.assert_array_equal(market.rows, wide.notna().to_numpy())


@pytest.mark.parametrize("name", ["prices.parquet", "prices.csv"])
def test_understands_j_quants_names_and_keeps_leading_zeros(bars: Bars, write: Write, name: str) -> None:
    table = bars(days=30, stocks=11)
    table["symbol"] = "0" + (1300 + table["symbol"].str[1:].astype(int)).astype(str)
    renamed = table.rename(columns={**J_QUANTS, "volume": "Volume"})
    market, plain = load(write(renamed, "jq-" + name)), load(write(table, name))
    assert market.symbols[0] == "01300"
    for column in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(market.read(column), plain.read(column))


def test_adjusted_prices_come_before_plain_ones(bars: Bars, write: Write) -> None:
    table = bars(days=30, stocks=11).rename(columns={**J_QUANTS, "volume": "Volume"})
    table["AdjustmentClose"] = table["Close"] / 2
    market = load(write(table))
    np.testing.assert_allclose(market.read("close")[:, 0], table["Close"].to_numpy()[:30] / 2)
    np.testing.assert_allclose(market.read("open")[:, 0], table["Open"].to_numpy()[:30] / 2)
    np.testing.assert_array_equal(market.read("raw_close")[:, 0], table["Close"].to_numpy()[:30])
    assert "Open, High, Low are scaled by AdjustmentClose / Close" in market.recognised
    assert market.ready == ()


@pytest.mark.parametrize("dates", ["date32", "timestamp", "compact", "integer"])
def test_dates_of_every_kind(bars: Bars, write: Write, dates: str) -> None:
    table = bars(days=30, stocks=11)
    parsed = pd.to_datetime(table["date"])
    compact = parsed.dt.strftime("%Y%m%d")
    kinds = {"date32": parsed.dt.date, "timestamp": parsed, "compact": compact, "integer": compact.astype(int)}
    table["date"] = kinds[dates]
    assert str(load(write(table)).dates[0]) == "2020-01-01"


def test_a_folder_is_one_table(bars: Bars, write: Write, tmp_path: Path) -> None:
    table = bars(days=30, stocks=11)
    early, late = table[table["date"] < "2020-01-20"], table[table["date"] >= "2020-01-20"]
    write(early, "folder/1.parquet")
    write(late, "folder/2.parquet")
    whole = load(write(table))
    parts = load(str(tmp_path / "folder"))
    np.testing.assert_array_equal(whole.read("low"), parts.read("low"))
    parts_row = parts.row(29, 0)
    assert "2.parquet" in parts_row
    assert "S00, 2020-02-11" in parts_row


def test_a_sector_is_the_last_one_seen_by_the_day(bars: Bars, write: Write) -> None:
    table = bars(days=30, stocks=11).assign(industry="tools")
    table.loc[table["symbol"] == "S01", "industry"] = [None] * 5 + ["games"] * 5 + [None] * 10 + ["tools"] * 10
    table.loc[table["symbol"] == "S02", "industry"] = None
    market = load(write(table))
    assert market.sector_names == ("games", "tools")
    assert market.sectors[:, 0].tolist() == [1] * 30
    assert market.sectors[:, 1].tolist() == [-1] * 5 + [0] * 15 + [1] * 10
    assert market.sectors[:, 2].tolist() == [-1] * 30


def test_ready_features_are_told_from_bars_targets_and_text(bars: Bars, write: Write) -> None:
    table = bars(days=30, stocks=11).drop(columns=["open", "high", "low"])
    table = table.assign(alpha=1.0 * table.index, target_5d=0.1, note="x")
    market = load(write(table))
    assert market.ready == ("alpha",)
    assert not market.has_bars
    assert market.warnings == ("columns not used: note (text).",)


def test_bars_without_volume_but_with_features_are_warned_about(bars: Bars, write: Write) -> None:
    table = bars(days=30, stocks=11).drop(columns="volume")
    market = load(write(table.assign(alpha=1.0 * table.index)))
    reason = "bars are not complete"
    assert market.warnings == (f"columns not used: open ({reason}), high ({reason}), low ({reason}).",)


def spoilt(table: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    changed = table.copy()
    changed[column] = changed[column].astype(object)
    changed.loc[row, column] = value
    return changed


REFUSALS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no close": (
        lambda t: t.drop(columns="close"),
        r"column 'close' is missing \(there are date, symbol, .*\); add it",
    ),
    "misspelt close": (lambda t: t.rename(columns={"close": "Clse"}), r"'close' is missing .*; is 'Clse' meant\?"),
    "no volume": (lambda t: t.drop(columns="volume"), r"column 'volume' is missing"),
    "no symbol": (lambda t: t.drop(columns="symbol"), r"column 'symbol' is missing"),
    "no date": (lambda t: t.rename(columns={"date": "when"}), r"column 'date' is missing"),
    "repeated": (
        lambda t: pd.concat([t.iloc[:40], t.iloc[[39]], t.iloc[40:]]),
        r"line 42: there is already a row for S01 on 2020-01-14; keep one row",
    ),
    "twice close": (lambda t: t.assign(Close=1.0), r"columns 'close' and 'Close' both mean close; remove one of them"),
    "bad date": (lambda t: spoilt(t, 7, "date", "2020-13-45"), r"line 9: the date '2020-13-45' cannot be read; write"),
    "empty symbol": (lambda t: spoilt(t, 7, "symbol", None), r"line 9: symbol is empty; fill it in"),
    "text price": (lambda t: spoilt(t, 7, "open", "n/k"), r"line 9: open is 'n/k', which is not a number; correct"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(bars: Bars, write: Write, case: str) -> None:
    spoil, sentence = REFUSALS[case]
    source = write(spoil(bars(days=30, stocks=11)), "prices.csv")
    with pytest.raises(InputError, match=sentence) as refusal:
        load(source).read("open")
    assert "prices.csv" in str(refusal.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_byte_order_mark_tells_the_encoding(bars: Bars, tmp_path: Path, encoding: str) -> None:
    table = bars(days=30, stocks=11).assign(sector="Ærö")
    text = table.to_csv(index=False)
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "prices.csv").write_bytes(mark + text.encode(encoding))
    market = load(str(tmp_path / "prices.csv"))
    assert (market.sector_names, len(market.dates)) == (("Ærö",), 30)


def test_text_of_another_encoding_is_refused(bars: Bars, tmp_path: Path) -> None:
    table = bars(days=30, stocks=11).assign(sector="Ærö")
    (tmp_path / "prices.csv").write_bytes(table.to_csv(index=False).encode("latin-1"))
    with pytest.raises(InputError, match=r"prices.csv cannot be read as CSV: .*UTF.*; save it as UTF-8\."):
        load(str(tmp_path / "prices.csv"))


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_compressed_file_that_ends_early_is_refused(bars: Bars, tmp_path: Path, keep: float) -> None:
    packed = gzip.compress(bars(days=300, stocks=11).to_csv(index=False).encode())
    (tmp_path / "prices.csv.gz").write_bytes(packed[: int(keep * len(packed))])
    with pytest.raises(InputError, match=r"prices.csv.gz cannot be read as CSV: .*; copy or write it again\."):
        load(str(tmp_path / "prices.csv.gz"))


@pytest.mark.parametrize("name", ["prices.parquet", "prices.csv"])
@pytest.mark.parametrize("ticker", ["NA", "NULL", "nan", "TRUE", "None", "1E5", "007", "-"])
def test_a_ticker_is_a_ticker_whatever_it_means_elsewhere(bars: Bars, write: Write, name: str, ticker: str) -> None:
    table = bars(days=30, stocks=11)
    table.loc[table["symbol"] == "S03", "symbol"] = ticker
    market = load(write(table, name))
    assert ticker in market.symbols
    assert len(market.symbols) == 11


def test_an_empty_number_may_be_said_in_words(bars: Bars, write: Write) -> None:
    table = bars(days=30, stocks=11)
    for row, word in enumerate(["NA", "nan", "NULL", "", "N/A"]):
        table = spoilt(table, row, "open", word)
    assert np.isnan(load(write(table, "prices.csv")).read("open")[:5, 0]).all()


@pytest.mark.parametrize("name", ["prices.parquet", "prices.csv"])
def test_rows_in_any_order_are_sorted_and_this_is_said(bars: Bars, write: Write, name: str) -> None:
    table = bars(days=30, stocks=11)
    sorted_rows, shuffled = load(write(table)), load(write(table.sample(frac=1, random_state=1), f"other-{name}"))
    assert any("they were sorted" in warning for warning in shuffled.warnings)
    assert sorted_rows.warnings == ()
    for column in ("open", "volume"):
        np.testing.assert_array_equal(shuffled.read(column), sorted_rows.read(column))


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("date,symbol,close,close\n2020-01-01,A,1,2\n")
    with pytest.raises(InputError, match=r"prices.csv has more than one column 'close'; keep one of them"):
        load(str(tmp_path / "prices.csv"))


@pytest.mark.parametrize("name", ["prices.parquet", "prices.csv"])
def test_too_many_columns_are_refused(bars: Bars, write: Write, name: str) -> None:
    table = bars(days=12, stocks=1)
    wide = pd.concat([table, pd.DataFrame(0.5, table.index, [f"f{n}" for n in range(2_500)])], axis=1)
    with pytest.raises(InputError, match=r"has 2,500 feature columns; at most 2,000 are taken"):
        load(write(wide, name))
    wide = pd.concat([wide, pd.DataFrame(0.5, table.index, [f"g{n}" for n in range(17_500)])], axis=1)
    with pytest.raises(InputError, match=r"has 20,007 columns; at most 3,000 are read"):
        load(write(wide, name))


@pytest.mark.parametrize("name", ["pipe.csv", "folder/pipe.parquet"])
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / name)
    for source in (tmp_path / name, tmp_path / "folder" if "folder" in name else Path("/dev/zero")):
        with pytest.raises(InputError, match="is no ordinary file"):
            load(str(source))


def test_a_missing_file_is_answered_with_the_nearest_name(bars: Bars, write: Write, tmp_path: Path) -> None:
    write(bars(days=30, stocks=11))
    with pytest.raises(InputError, match=r"no such file or folder; did you mean 'prices.parquet'\?"):
        load(str(tmp_path / "price.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \.parquet and no \.csv"):
        load(str(tmp_path / "empty"))
    (tmp_path / "prices.xlsx").touch()
    with pytest.raises(InputError, match=r"neither in \.parquet nor in \.csv"):
        load(str(tmp_path / "prices.xlsx"))


def test_files_of_a_folder_must_agree(bars: Bars, write: Write, tmp_path: Path) -> None:
    table = bars(days=30, stocks=11)
    write(table, "folder/1.parquet")
    write(table.assign(extra=1.0), "folder/2.parquet")
    with pytest.raises(InputError, match=r"2.parquet: its columns differ .* in extra"):
        load(str(tmp_path / "folder"))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"broken.parquet cannot be read as Parquet"):
        load(str(tmp_path / "broken.parquet"))
    (tmp_path / "broken.csv").write_text("date,symbol,close\n2020-01-01,A,1\n2020-01-02,A,1,2\n")
    with pytest.raises(InputError, match=r"broken.csv cannot be read as CSV"):
        load(str(tmp_path / "broken.csv"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty.csv cannot be read as CSV"):
        load(str(tmp_path / "empty.csv"))
