"""Dates, numbers, tickers and headings as vendors and spreadsheets write them, and tables that come in other forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from trainer.config import DataConfig
from trainer.data import open_training, prepare
from trainer.data.reading import keep_table, load
from trainer.errors import InputError

DAYS, STOCKS = 70, 12
FIELDS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    """Prices of two decimals, volumes of whole thousands."""
    rng = np.random.default_rng(4)
    close = 2000 * np.exp(np.cumsum(0.02 * rng.standard_normal((STOCKS, DAYS)), axis=1)).ravel()
    opened = close * np.exp(0.005 * rng.standard_normal(close.shape))
    table = pd.DataFrame(
        {
            "date": np.tile(pd.bdate_range("2020-01-01", periods=DAYS), STOCKS),
            "symbol": np.repeat([f"S{number:02d}" for number in range(STOCKS)], DAYS),
            "open": opened,
            "high": np.maximum(opened, close) * (1 + 0.01 * rng.random(close.shape)),
            "low": np.minimum(opened, close) * (1 - 0.01 * rng.random(close.shape)),
            "close": close,
            "volume": 1000.0 * rng.integers(100, 5000, close.shape),
        }
    )
    return table.assign(**table[list(FIELDS)].round(2))


def columns_of(source: str | Path) -> dict[str, NDArray[np.float64]]:
    market = load(str(source))
    assert market.ready == ()
    return {name: market.read(name) for name in FIELDS} | {"dates": market.dates.astype(np.float64)}


def same(table: pd.DataFrame, source: str | Path) -> None:
    expected = {name: table.pivot(index="date", columns="symbol", values=name).to_numpy() for name in FIELDS}
    expected["dates"] = np.unique(table["date"].to_numpy()).astype("datetime64[D]").astype(np.float64)
    for name, values in columns_of(source).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-12, err_msg=name)


def csv(table: pd.DataFrame, folder: Path, **options: object) -> Path:
    table.to_csv(folder / "prices.csv", **{"index": False, **options})  # type: ignore[arg-type]
    return folder / "prices.csv"


@pytest.mark.parametrize(
    "layout",
    [
        "%d.%m.%Y",
        "%d/%m/%y",
        "%m/%d/%Y %H:%M:%S",
        "%b %d, %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%d%b%Y",
        "%d %B %Y",
        "%B %d, %Y",
        "%Y.%m.%d",
        "%a, %d %b %Y",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%dT%H:%M:%S.000+09:00",
        "%Y%m%d",
        "%Y%m%d.0",
    ],
)
def test_dates(clean: pd.DataFrame, tmp_path: Path, layout: str) -> None:
    same(clean, csv(clean.assign(date=clean["date"].dt.strftime(layout)), tmp_path))


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_time_zones_and_whole_numbers_in_parquet(clean: pd.DataFrame, tmp_path: Path, zone: str) -> None:
    path = tmp_path / "prices.parquet"
    for dates in (clean["date"].dt.tz_localize(zone), clean["date"].dt.strftime("%Y%m%d").astype(int)):
        clean.assign(date=dates).to_parquet(path, index=False)
        same(clean, path)


@pytest.mark.parametrize("written", ["1577836800", "1577836800000", "43831", "01/02/2020"])
def test_dates_that_could_be_another_are_refused(clean: pd.DataFrame, tmp_path: Path, written: str) -> None:
    table = clean[clean["date"] == clean["date"].min()].assign(date=written)
    with pytest.raises(InputError, match=f"{written}'.*write (dates|them) as YYYY-MM-DD"):
        load(str(csv(table, tmp_path)))


def european(number: float) -> str:
    return f"{number:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")


NUMBERS: Mapping[str, tuple[Callable[[float], str], dict[str, str]]] = {
    "thousands": (lambda v: f"{v:,.2f}", {}),
    "dollars": (lambda v: f"${v:,.2f}", {}),
    "dollars after": (lambda v: f"{v:.2f} $", {}),
    "european": (european, {"sep": ";"}),
    "european, tabs": (european, {"sep": "\t"}),
    "decimal comma": (lambda v: f"{v:.2f}".replace(".", ","), {}),
    "narrow spaces": (lambda v: f"{v:,.2f}".replace(",", "\N{NARROW NO-BREAK SPACE}"), {}),
    "apostrophes": (lambda v: f"{v:,.2f}".replace(",", "'"), {}),
}


@pytest.mark.parametrize("form", NUMBERS)
def test_numbers(clean: pd.DataFrame, tmp_path: Path, form: str) -> None:
    write, options = NUMBERS[form]
    written = clean.assign(**{name: clean[name].map(write) for name in FIELDS})
    same(clean, csv(written, tmp_path, **options))
    written.loc[7, "open"] = ""
    read = columns_of(csv(written, tmp_path, **options))["open"]
    assert np.isnan(read[7, 0])
    assert np.isfinite(read).sum() == len(clean) - 1


@pytest.mark.parametrize("write", [lambda v: f"{v / 1e6:.3f}M", lambda v: f"{v / 1e3:.0f}K", lambda v: f"{v:,.0f}"])
def test_volumes(clean: pd.DataFrame, tmp_path: Path, write: Callable[[float], str]) -> None:
    same(clean, csv(clean.assign(volume=clean["volume"].map(write)), tmp_path))


def test_a_word_among_the_numbers_is_refused_with_its_line(clean: pd.DataFrame, tmp_path: Path) -> None:
    table = clean.astype({"close": object})
    table.loc[7, "close"] = "1,23,4"
    with pytest.raises(InputError, match=r"line 9: close is '1,23,4', which is not a number"):
        columns_of(csv(table, tmp_path))


def test_what_is_empty_may_be_a_dash(clean: pd.DataFrame, tmp_path: Path) -> None:
    table = clean.astype({"volume": object})
    table.loc[7, "volume"] = "-"
    assert np.isnan(columns_of(csv(table, tmp_path))["volume"][7, 0])


def with_header_again(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:300], lines[0], *lines[300:]])


@pytest.mark.parametrize(
    "spoil",
    [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), with_header_again, lambda t: f"# made\n\n{t}"],
    ids=["byte order mark", "Windows lines", "header again", "comment before"],
)
def test_lines_around_the_rows(clean: pd.DataFrame, tmp_path: Path, spoil: Callable[[str], str]) -> None:
    path = csv(clean, tmp_path)
    path.write_bytes(spoil(path.read_text()).encode())
    same(clean, path)


@pytest.mark.parametrize("spoil", [with_header_again, lambda t: f"# made\n\n{t}"], ids=["header again", "comment"])
def test_a_message_names_the_line_of_the_file(clean: pd.DataFrame, tmp_path: Path, spoil: Callable[[str], str]) -> None:
    table = clean.astype({"close": object})
    table.loc[400, "close"] = "x"
    path = csv(table, tmp_path)
    path.write_text(spoil(path.read_text()))
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if ",x," in text)
    with pytest.raises(InputError, match=f"line {line}: close is 'x'"):
        columns_of(path)


def test_features_stay_numbers_where_the_header_comes_again(clean: pd.DataFrame, tmp_path: Path) -> None:
    path = csv(clean.assign(alpha=np.arange(len(clean))), tmp_path)
    path.write_text(with_header_again(path.read_text()))
    assert load(str(path)).ready == ("alpha",)


@pytest.mark.parametrize("row", ["Total,,,,,,123", "Data by a vendor"])
def test_a_last_row_that_is_none_is_refused(clean: pd.DataFrame, tmp_path: Path, row: str) -> None:
    path = csv(clean, tmp_path)
    path.write_text(f"{path.read_text()}{row}\n")
    with pytest.raises(InputError, match=r"the date 'Total' cannot be read|Data by a vendor; give every row"):
        columns_of(path)


def test_a_total_among_the_symbols_is_warned_of(clean: pd.DataFrame, tmp_path: Path) -> None:
    total = clean.groupby("date", as_index=False)[list(FIELDS)].sum().assign(symbol="Total")
    assert any(
        "Total look like totals" in said for said in load(str(csv(pd.concat([clean, total]), tmp_path))).warnings
    )


def test_tickers_in_upper_and_lower_case_are_one_stock_unless_they_share_a_day(
    clean: pd.DataFrame, tmp_path: Path
) -> None:
    lower = clean["symbol"].where(clean["date"] < "2020-02-03", clean["symbol"].str.lower())
    path = csv(clean.assign(symbol=lower), tmp_path)
    same(clean, path)
    assert "12 symbols differ from another in upper and lower case alone" in load(str(path)).warnings[0]
    other = clean[clean["symbol"] == "S03"].assign(symbol="s03")
    assert {"S03", "s03"} <= set(load(str(csv(pd.concat([clean, other]), tmp_path))).symbols)


@pytest.mark.parametrize(
    "names",
    [
        {"date": "Date", "symbol": "Symbol", "close": "Close/Last", "open": "Open", "high": "High", "low": "Low"},
        {"date": "Date", "symbol": "Ticker", "close": "Price", "open": "Open", "high": "High", "low": "Low"}
        | {"volume": "Vol."},
        {"close": "Close*", "volume": " Volume "},
        {"open": "PX_OPEN", "high": "PX_HIGH", "low": "PX_LOW", "close": "PX_LAST", "volume": "PX_VOLUME"},
        {"close": "last"},
    ],
)
def test_headings(clean: pd.DataFrame, tmp_path: Path, names: dict[str, str]) -> None:
    same(clean, csv(clean.rename(columns=names), tmp_path))


def field_files(table: pd.DataFrame, folder: Path, suffix: str) -> None:
    for name in FIELDS:
        wide = table.pivot(index="date", columns="symbol", values=name)
        if suffix == ".parquet":
            wide.to_parquet(folder / f"{name}.parquet")
        else:
            wide.rename_axis(index=None).to_csv(folder / f"{name.title()}{suffix}")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".csv.gz"])
def test_a_folder_with_a_table_for_each_field(clean: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    field_files(clean, tmp_path, suffix)
    same(clean, tmp_path)


def test_fields_may_be_adjusted_closes_features_and_sectors(clean: pd.DataFrame, tmp_path: Path) -> None:
    field_files(clean, tmp_path, ".csv")
    wide = clean.pivot(index="date", columns="symbol", values="close")
    (wide / 2).to_csv(tmp_path / "Adj Close.csv")
    (wide * 0 + np.arange(STOCKS)).to_csv(tmp_path / "book_to_market.csv")
    wide.map(lambda _: "tools").assign(S03=None).to_csv(tmp_path / "sector.csv")
    wide.drop(columns="S05").iloc[10:].to_csv(tmp_path / "alpha.csv")
    inside = wide.map(lambda _: "yes")
    inside.iloc[:5] = None
    inside.to_csv(tmp_path / "universe.csv")
    market = load(str(tmp_path))
    assert set(market.ready) == {"book_to_market", "alpha"}
    np.testing.assert_allclose(market.read("high"), columns_of_field(clean, "high") / 2)
    assert market.sectors[5].tolist() == [-1 if number == 3 else 0 for number in range(STOCKS)]
    assert market.read("universe").sum(axis=1).tolist() == [0] * 5 + [STOCKS] * (DAYS - 5)
    assert np.isnan(market.read("alpha")[:, 5]).all()
    assert np.isnan(market.read("alpha")[:10]).all()


def columns_of_field(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table.pivot(index="date", columns="symbol", values=name).to_numpy()
    return values


def test_a_field_with_a_date_twice_is_refused(clean: pd.DataFrame, tmp_path: Path) -> None:
    field_files(clean, tmp_path, ".csv")
    path = tmp_path / "Low.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(InputError, match=r"Low.csv, line 72: there is already a row for 2020-01-01"):
        load(str(tmp_path))


def test_a_stock_called_close_makes_no_folder_of_fields(clean: pd.DataFrame, tmp_path: Path) -> None:
    for symbol, rows in clean.replace({"symbol": {"S00": "CLOSE", "S01": "OPEN"}}).groupby("symbol"):
        rows.drop(columns="symbol").to_csv(tmp_path / f"{symbol}.csv", index=False)
    assert load(str(tmp_path)).symbols[:2] == ("CLOSE", "OPEN")


FRAMES: Mapping[str, Callable[[pd.DataFrame], object]] = {
    "rows": lambda t: t,
    "date and symbol as index": lambda t: t.set_index(["date", "symbol"]),
    "date as index": lambda t: t.set_index("date"),
    "fields over symbols": lambda t: t.set_index(["date", "symbol"]).unstack("symbol"),
    "symbols over fields": lambda t: t.set_index(["date", "symbol"]).unstack("symbol").swaplevel(axis=1),
    "categories": lambda t: t.astype({"symbol": "category"}),
    "arrow": lambda t: pa.Table.from_pandas(t, preserve_index=False),
}


@pytest.mark.parametrize("form", FRAMES)
def test_frames_from_python(clean: pd.DataFrame, tmp_path: Path, form: str) -> None:
    same(clean, keep_table(FRAMES[form](clean), tmp_path))


def test_a_frame_is_prepared_as_its_file_is(clean: pd.DataFrame, tmp_path: Path) -> None:
    settings = {"horizons": (1, 2), "split": {"train_fraction": 0.5, "valid_fraction": 0.3}}
    frame = prepare(DataConfig.model_validate(settings), 2, tmp_path / "cache", rows=clean)
    file = prepare(DataConfig.model_validate({**settings, "source": str(csv(clean, tmp_path))}), 2, tmp_path / "cache")
    np.testing.assert_array_equal(open_training(frame.search).panel.features, open_training(file.search).panel.features)
    again = prepare(DataConfig.model_validate(settings), 2, tmp_path / "cache", rows=clean.copy())
    assert again.fingerprint == frame.fingerprint


@pytest.mark.parametrize("column", ["date", "symbol", "close"])
def test_lists_in_cells_are_refused(clean: pd.DataFrame, tmp_path: Path, column: str) -> None:
    path = keep_table(clean.assign(**{column: [[1]] * len(clean)}), tmp_path)
    with pytest.raises(InputError, match=f"{column} holds lists or mappings; give one value in each cell"):
        load(str(path))
