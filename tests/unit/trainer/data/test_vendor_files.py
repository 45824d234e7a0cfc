"""Files as vendors ship them give the features of the clean long file; the dangerous ones are refused or warned of."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trainer.config import ColumnsConfig, DataConfig
from trainer.data import prepare
from trainer.data.features import make_features, usable
from trainer.data.market import Market
from trainer.data.reading import load
from trainer.errors import InputError

DAYS, STOCKS = 90, 15
PRICES = ["open", "high", "low", "close"]


def world(seed: int = 0) -> pd.DataFrame:
    """Random bars in long format: `open ... volume` as they are today, `raw_...` as they were traded, with splits."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(0.02 * rng.standard_normal((STOCKS, DAYS)), axis=1))
    opened = close * np.exp(0.005 * rng.standard_normal(close.shape))
    volume = np.exp(rng.normal(11, 1, close.shape))
    shares = np.ones(close.shape)
    for stock, day, ratio in ((1, 40, 2.0), (2, 55, 1.5), (3, 30, 2.0), (3, 70, 3.0), (4, 50, 0.1)):
        shares[stock, :day] *= ratio
    dates = np.tile(pd.bdate_range("2020-01-01", periods=DAYS), STOCKS)
    table = pd.DataFrame({"date": dates, "symbol": np.repeat([f"S{number:02d}" for number in range(STOCKS)], DAYS)})
    table["open"], table["close"] = opened.ravel(), close.ravel()
    table["high"] = table[["open", "close"]].max(axis=1) * (1 + 0.01 * rng.random(len(table)))
    table["low"] = table[["open", "close"]].min(axis=1) * (1 - 0.01 * rng.random(len(table)))
    table["volume"] = volume.ravel()
    for name in PRICES:
        table[f"raw_{name}"] = table[name] * shares.ravel()
    table["raw_volume"] = table["volume"] / shares.ravel()
    table["factor"] = 1 / shares.ravel()
    return table


CLEAN = ["date", "symbol", *PRICES, "volume"]


def renamed(table: pd.DataFrame, names: str) -> pd.DataFrame:
    """`Date=date Open=raw_open ...` from the world."""
    return pd.DataFrame({new.replace("_", " "): table[old] for new, old in (pair.split("=") for pair in names.split())})


SHAPES: Mapping[str, str] = {
    "clean": "date=date symbol=symbol open=open high=high low=low close=close volume=volume",
    "yahoo": "Date=date Ticker=symbol Open=open High=high Low=low Close=close Adj_Close=close Volume=volume",
    "stooq": "<TICKER>=symbol <DATE>=date <OPEN>=open <HIGH>=high <LOW>=low <CLOSE>=close <VOL>=volume",
    "kaggle": "date=date open=open high=high low=low close=close volume=volume Name=symbol",
    "qlib": "datetime=date instrument=symbol $open=open $high=high $low=low $close=close $volume=volume $factor=factor",
    "j-quants": "Date=date Code=symbol Open=raw_open High=raw_high Low=raw_low Close=raw_close Volume=raw_volume "
    "AdjustmentFactor=factor AdjustmentOpen=open AdjustmentHigh=high AdjustmentLow=low AdjustmentClose=close "
    "AdjustmentVolume=volume",
    "j-quants 2": "Date=date Code=symbol O=raw_open H=raw_high L=raw_low C=raw_close Vo=raw_volume AdjFactor=factor "
    "AdjO=open AdjH=high AdjL=low AdjC=close AdjVo=volume",
    "eodhd": "date=date code=symbol open=raw_open high=raw_high low=raw_low close=raw_close adjusted__close=close "
    "volume=raw_volume",
    "alpha": "timestamp=date symbol=symbol open=raw_open high=raw_high low=raw_low close=raw_close "
    "adjusted_close=close volume=raw_volume split_coefficient=factor",
    "tushare": "trade_date=date ts__code=symbol open=open high=high low=low close=close pre__close=close vol=volume",
    "compustat": "datadate=date tic=symbol prcod=open prchd=high prcld=low prccd=close cshtrd=volume",
    "chinese": "日期=date 股票代码=symbol 开盘=open 最高=high 最低=low 收盘=close 成交量=volume",
    "japanese": "日付=date 銘柄コード=symbol 始値=open 高値=high 安値=low 終値=close 出来高=volume",
    "tiingo": "date=date ticker=symbol close=raw_close high=raw_high low=raw_low open=raw_open volume=raw_volume "
    "adjClose=close adjHigh=high adjLow=low adjOpen=open adjVolume=volume",
}

Dress = Callable[[pd.DataFrame, Path], Path]


def as_csv(table: pd.DataFrame, folder: Path, **options: object) -> Path:
    table.to_csv(folder / "prices.csv", **{"index": False, **options})  # type: ignore[arg-type]
    return folder / "prices.csv"


def as_parquet(table: pd.DataFrame, folder: Path) -> Path:
    table.to_parquet(folder / "prices.parquet", index=False)
    return folder / "prices.parquet"


def date_of(table: pd.DataFrame) -> str:
    return next(name for name in table.columns if pd.api.types.is_datetime64_any_dtype(table[name]))


def with_dates(table: pd.DataFrame, layout: str) -> pd.DataFrame:
    return table.assign(**{date_of(table): table[date_of(table)].dt.strftime(layout)})


def compressed(table: pd.DataFrame, folder: Path) -> Path:
    path = folder / "prices.csv.gz"
    path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    return path


def feather(table: pd.DataFrame, folder: Path) -> Path:
    table.reset_index(drop=True).to_feather(folder / "prices.feather")
    return folder / "prices.feather"


def indexed(table: pd.DataFrame, folder: Path) -> Path:
    table.sample(frac=1, random_state=0).to_parquet(folder / "prices.parquet")  # leaves __index_level_0__
    return folder / "prices.parquet"


def by_year(table: pd.DataFrame, folder: Path) -> Path:
    months = table[date_of(table)].dt.month
    for month in months.unique():
        table[months == month].to_parquet(folder / f"2020-{month:02d}.parquet", index=False)
    return folder


def by_day(table: pd.DataFrame, folder: Path) -> Path:
    for day, rows in table.groupby(date_of(table)):
        rows.to_csv(folder / f"{day:%Y%m%d}.csv", index=False)
    return folder


def cluttered(table: pd.DataFrame, folder: Path) -> Path:
    noise = np.random.default_rng(1).random(len(table))
    more = table.assign(
        **{"Market Cap": noise, "dividends": noise, "Stock Splits": 0.0, "currency": "USD", "vwap": 1.0}
    )
    return as_csv(more, folder)


DRESSES: Mapping[str, Dress] = {
    "csv": as_csv,
    "parquet": as_parquet,
    "csv.gz": compressed,
    "feather": feather,
    "unnamed index": lambda t, f: as_csv(t, f, index=True),
    "index level, shuffled": indexed,
    "semicolons, comma": lambda t, f: as_csv(t, f, sep=";", decimal=","),
    "tabs, utf-16": lambda t, f: as_csv(t, f, sep="\t", encoding="utf-16"),
    "byte order mark": lambda t, f: as_csv(t, f, encoding="utf-8-sig"),
    "month first": lambda t, f: as_csv(with_dates(t, "%m/%d/%Y"), f),
    "compact dates": lambda t, f: as_csv(with_dates(t, "%Y%m%d"), f),
    "time zone": lambda t, f: as_csv(with_dates(t, "%Y-%m-%d 00:00:00-05:00"), f),
    "months": by_year,
    "clutter": cluttered,
}


def features(market: Market) -> dict[str, NDArray[np.float32]]:
    return dict(make_features(market, usable(market, 0.0)))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.float32]]:
    return features(load(str(as_parquet(world()[CLEAN], tmp_path_factory.mktemp("clean")))))


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_accepted_files_give_the_features_of_the_clean_one(
    expected: dict[str, NDArray[np.float32]], tmp_path: Path, shape: str, dress: str
) -> None:
    market = load(str(DRESSES[dress](renamed(world(), SHAPES[shape]), tmp_path)))
    made = features(market)
    assert market.ready == ()
    assert set(made) == set(expected)
    for name, values in expected.items():
        assert (np.abs(made[name] - values) > 1e-3).mean() < 0.002, name  # prices in text are rounded


def test_a_folder_of_many_daily_files_is_the_same(expected: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    made = features(load(str(by_day(world()[CLEAN], tmp_path))))
    for name, values in expected.items():
        np.testing.assert_allclose(made[name], values, atol=1e-3, err_msg=name)


def test_a_folder_with_a_file_for_each_stock_takes_their_names(
    expected: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    for symbol, rows in world()[CLEAN].groupby("symbol"):
        rows.drop(columns="symbol").to_csv(tmp_path / f"{symbol}.csv", index=False)
    market = load(str(tmp_path))
    assert market.symbols[:2] == ("S00", "S01")
    assert "the files' names are taken as symbol (there is no such column)" in market.recognised
    np.testing.assert_allclose(features(market)["return_5d"], expected["return_5d"], atol=1e-3)


def test_columns_of_any_name_can_be_named(expected: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    table = world()[CLEAN].rename(columns={"date": "Tag", "symbol": "Papier", "close": "Schluss"})
    path = str(as_csv(table, tmp_path))
    with pytest.raises(InputError, match=r"column 'date' is missing .* or name it with data.columns.date=NAME"):
        load(path)
    given = ColumnsConfig(date="Tag", symbol="Papier", close="Schluss")
    made = features(load(path, given))
    np.testing.assert_allclose(made["return_5d"], expected["return_5d"], atol=1e-3)
    with pytest.raises(InputError, match=r"data.columns.close=Schlus: .* no such column .*; did you mean 'Schluss'\?"):
        load(path, given.model_copy(update={"close": "Schlus"}))


def test_a_multi_index_of_qlib_is_taken_from_parquet(expected: dict[str, NDArray[np.float32]], tmp_path: Path) -> None:
    table = renamed(world(), SHAPES["qlib"]).set_index(["datetime", "instrument"])
    table.to_parquet(tmp_path / "prices.parquet")
    np.testing.assert_array_equal(features(load(str(tmp_path / "prices.parquet")))["return_5d"], expected["return_5d"])


@dataclass(frozen=True)
class Danger:
    """spoil: makes the file. says: what it is refused with, or warned of."""

    spoil: Callable[[pd.DataFrame], pd.DataFrame]
    says: str
    refused: bool = True
    shape: str = "clean"


def later(table: pd.DataFrame, days: int) -> pd.Series:
    return table.groupby("symbol")["close"].shift(-days) / table["close"] - 1


def swapped(table: pd.DataFrame, share: float) -> pd.DataFrame:
    picked = np.random.default_rng(2).random(len(table)) < share
    return table.assign(high=table["low"].where(picked, table["high"]), low=table["high"].where(picked, table["low"]))


def raw(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    return table.assign(**{name: world()[f"raw_{name}"] for name in names})


DANGERS: Mapping[str, Danger] = {
    "the answer": Danger(lambda t: t.assign(fwd_ret_5d=later(t, 5)), r"feature 'fwd_ret_5d' .* contains the answer"),
    "the answer, plain name": Danger(lambda t: t.assign(alpha=later(t, 3)), r"feature 'alpha' .* contains the answer"),
    "the answer, its sign turned": Danger(lambda t: t.assign(x=-later(t, 1)), r"feature 'x' .* contains the answer"),
    "the answer, untrained horizon": Danger(lambda t: t.assign(x=later(t, 8)), r"feature 'x' .* contains the answer"),
    "tomorrow's close": Danger(
        lambda t: t.assign(x=t.groupby("symbol")["close"].shift(-1) / t["open"]), r"feature 'x' .* contains the answer"
    ),
    "a name": Danger(
        lambda t: t.assign(label_5d=np.random.default_rng(0).random(len(t))), "may be known only later: label_5d", False
    ),
    "adjusted close, plain bars, no plain close": Danger(
        lambda t: raw(t, "open", "high", "low").rename(columns={"close": "adj_close"}), r"prices are adjusted in part"
    ),
    "adjusted close under the name close": Danger(
        lambda t: raw(t, "open", "high", "low"), "prices are adjusted in part"
    ),
    "plain close, adjusted bars": Danger(lambda t: raw(t, "close"), "prices are adjusted in part"),
    "not adjusted": Danger(lambda t: raw(t, *PRICES, "volume"), "after a split .*S01", False),
    "high and low mixed up": Danger(lambda t: swapped(t, 1.0), "their high below their low"),
    "high below low now and then": Danger(lambda t: swapped(t, 0.05), "their high below their low"),
    "high below low once": Danger(lambda t: swapped(t, 0.002), "used as they are", False),
    "market cap": Danger(lambda t: t.assign(marketCap=t["close"]), r"marketCap \(a level, not comparable", False),
    "dividends": Danger(lambda t: t.assign(Dividends=0.1), r"Dividends \(a payment, not a feature\)", False),
    "split factor": Danger(lambda t: t.assign(split_factor=1.0), r"split_factor \(an adjustment factor", False),
    "a constant": Danger(lambda t: t.assign(alpha=1.0), "alpha: left out, being constant", False),
    "two closes": Danger(lambda t: t.assign(Close=t["close"]), "'close' and 'Close' both mean close"),
    "a row twice": Danger(lambda t: pd.concat([t, t.iloc[[5]]]), "there is already a row for S00"),
    "shuffled": Danger(lambda t: t.sample(frac=1, random_state=0), "they were sorted", False),
    "no symbol": Danger(lambda t: t.drop(columns="symbol"), "column 'symbol' is missing"),
    "a price of zero": Danger(lambda t: t.assign(low=t["low"].where(t.index != 7, 0.0)), "prices must be positive"),
    "a negative volume": Danger(
        lambda t: t.assign(volume=t["volume"].where(t.index != 7, -1.0)), "must not be negative"
    ),
    "a price beyond all": Danger(lambda t: t.assign(high=t["high"].where(t.index != 7, 1e200)), "prices must lie in"),
}


@pytest.mark.parametrize("case", DANGERS)
@pytest.mark.parametrize("written", [as_csv, as_parquet])
def test_dangerous_files_are_refused_or_warned_of(written: Dress, case: str, tmp_path: Path) -> None:
    danger = DANGERS[case]
    source = str(written(danger.spoil(world()[CLEAN]), tmp_path))
    split = {"train_fraction": 0.55, "valid_fraction": 0.25}
    config = DataConfig.model_validate({"source": source, "horizons": (1, 3), "split": split})
    if danger.refused:
        with pytest.raises(InputError, match=danger.says):
            prepare(config, 2, tmp_path / "cache")
    else:
        assert pd.Series(prepare(config, 2, tmp_path / "cache").warnings).str.contains(danger.says).any()


def test_a_universe_masks_ranks_and_labels_but_not_history(tmp_path: Path) -> None:
    table = world()[CLEAN]
    whole = load(str(as_parquet(table, tmp_path)))
    inside = (table["symbol"] != "S03") | (table["date"] >= "2020-03-02")
    for number, column in enumerate((inside, inside.astype(int), np.where(inside, "SP500", ""), inside.map(str))):
        (tmp_path / str(number)).mkdir()
        market = load(str(as_csv(table.assign(universe=column), tmp_path / str(number))))
        first = int(np.searchsorted(market.dates, np.datetime64("2020-03-02")))
        mask = usable(market, 0.0)
        assert not mask[:first, 3].any()
        np.testing.assert_array_equal(mask[first:], usable(whole, 0.0)[first:])
        made = dict(make_features(market, mask))
        np.testing.assert_allclose(made["return_20d"][first:], features(whole)["return_20d"][first:], atol=1e-6)
        assert not made["return_20d"][:first, 3].any()


def test_the_smallest_price_is_held_against_the_price_that_was_paid(tmp_path: Path) -> None:
    """The tenth of a reverse split is below ten before it, however high today's prices make it look."""
    market = load(str(as_csv(renamed(world(), SHAPES["eodhd"]), tmp_path)))
    mask, paid = usable(market, 10.0), world()["raw_close"].to_numpy().reshape(STOCKS, DAYS).T
    np.testing.assert_array_equal(mask[30:], paid[30:] >= 10.0)
    assert not mask[30:50, 4].any()
    assert mask[50:, 4].all()
