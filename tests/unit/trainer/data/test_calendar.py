"""Days that cannot be meant, are no trading days, or were filled in, are told; a panel as it should be is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trainer.data.checking.calendar import check_calendar, filled_in
from trainer.data.market import Market
from trainer.errors import InputError

DAYS, STOCKS = 120, 30
Dates = NDArray[np.datetime64]
Make = Callable[..., Market]


def weekdays(days: int = DAYS) -> Dates:
    return pd.bdate_range("2020-01-01", periods=days).to_numpy().astype("datetime64[D]")


def prices(days: int = DAYS) -> NDArray[np.float64]:
    walk: NDArray[np.float64] = np.random.default_rng(0).normal(0, 0.02, (days, STOCKS))
    return np.asarray(50 * np.exp(np.cumsum(walk, axis=0)))


def panel(close: NDArray[np.float64] | None = None, dates: Dates | None = None) -> Market:
    close = prices() if close is None else close
    return Market(
        name="prices.csv",
        dates=weekdays(len(close)) if dates is None else dates,
        symbols=tuple(f"S{number:02d}" for number in range(STOCKS)),
        columns=("close",),
        read={"close": close}.__getitem__,
        row=lambda day, stock: f"prices.csv, line {day * STOCKS + stock + 2}",
        rows=np.isfinite(close),
        sectors=np.full(close.shape, -1, dtype=np.int16),
        sector_names=(),
    )


def test_nothing_is_said_of_trading_days() -> None:
    market = panel()
    assert check_calendar(market) == () == filled_in(market)
    without_close = replace(market, columns=("target_5d",))
    assert filled_in(without_close) == ()


def test_a_date_in_the_future_is_refused_with_its_line() -> None:
    dates = weekdays()
    dates[-2:] = np.datetime64("2099-01-01"), np.datetime64("2099-01-02")
    close = prices()
    close[-2, :7] = np.nan
    with pytest.raises(InputError, match=rf"line {118 * STOCKS + 7 + 2}: the date 2099-01-01 .* \(2 such dates\)"):
        check_calendar(panel(close, dates))
    dates[-2:] = np.datetime64("today"), np.datetime64("today") + 1
    check_calendar(panel(dates=dates))


def test_a_day_far_from_the_others_is_told() -> None:
    dates = weekdays()
    dates[0] = np.datetime64("1970-01-01")
    close = prices()
    close[0, 1:] = np.nan
    gap, thin = check_calendar(panel(close, dates))
    assert gap.startswith("no stock has a row between 1970-01-01 and 2020-01-02: the two count as consecutive")
    assert thin.startswith("1 day with less than a tenth of the rows of the days around: 1970-01-01;")


def test_several_gaps_and_thin_days_are_counted() -> None:
    dates = weekdays()
    dates[40:] += 60
    dates[80:] += 60
    close = prices()
    close[[10, 50, 51, 90], 2:] = np.nan
    gap, thin = check_calendar(panel(close, dates))
    assert ", and 1 such gap more: " in gap
    assert thin.startswith(f"4 days with less than a tenth of the rows of the days around: {dates[10]}, {dates[50]}, ")
    assert " and others; " in thin


@pytest.mark.parametrize(("step", "said"), [(7, True), (30, True), (1, False), (4, False)])
def test_a_panel_that_is_not_daily(step: int, said: bool) -> None:
    dates = np.datetime64("2010-01-01") + step * np.arange(DAYS)
    found = check_calendar(panel(dates=dates))
    assert bool(found) is said
    assert not said or f"lie {step} calendar days apart" in found[0]


def test_a_panel_that_grows_has_no_thin_days() -> None:
    close = prices()
    for day in range(60):
        close[day, max(1, day // 2) :] = np.nan
    assert check_calendar(panel(close)) == ()


def test_weekends_that_were_filled_in() -> None:
    dates = np.datetime64("2020-01-06") + np.arange(DAYS)  # a Monday
    close = prices()
    weekend = np.arange(DAYS) % 7 >= 5
    for day in np.flatnonzero(weekend):
        close[day] = close[day - 1]
    (said,) = filled_in(panel(close, dates))
    assert said.startswith(f"{weekend.sum()} days on which hardly any close differs from the day before's (2020-01-11,")
    close[weekend, :4] *= np.random.default_rng(1).uniform(0.9, 1.1, (weekend.sum(), 4))  # 4 of 30 stocks were traded
    assert filled_in(panel(close, dates)) == ()


def test_a_delisted_stock_whose_last_close_is_repeated() -> None:
    close = prices()
    close[50:, 3] = close[50, 3]
    close[80:90, 3] = np.nan
    (said,) = filled_in(panel(close))
    rows = (
        DAYS - 50 - 10 - 20 - 1
    )  # of the same closes, less those without a row, the first 20 repeats, and one whose day before has no row
    assert said.startswith("1 stock whose close stays the same for more than 20 rows (first S03 up to ")
    assert f"; {rows} rows beyond those 20)" in said


def test_the_same_close_over_a_filled_weekend_goes_on() -> None:
    dates = np.datetime64("2020-01-06") + np.arange(DAYS)
    close = prices()
    for day in np.flatnonzero(np.arange(DAYS) % 7 >= 5):
        close[day] = close[day - 1]
    close[60:, 5] = close[59, 5]
    assert [said.split(" ", 2)[1] for said in filled_in(panel(close, dates))] == ["days", "stock"]


def test_days_that_were_filled_in_for_all_are_no_suspension_of_each() -> None:
    close = prices()
    close[50:75] = close[49]
    (said,) = filled_in(panel(close))
    assert said.startswith("25 days on which hardly any close differs")


def test_short_runs_are_no_suspension() -> None:
    close = prices()
    close[50:69, 3] = close[49, 3]
    assert filled_in(panel(close)) == ()
