"""No label and no look-back crosses from one window into the next; gaps are counted in trading days."""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import SplitConfig
from trainer.data.splits import plan_split
from trainer.errors import InputError


def calendar(days: int) -> np.ndarray:
    return np.busday_offset("2019-01-01", np.arange(days), roll="forward").astype("datetime64[D]")


@settings(deadline=None)
@given(
    days=st.integers(200, 900),
    window=st.integers(1, 30),
    horizons=st.sampled_from([(1,), (1, 5), (2, 20)]),
    embargo=st.integers(0, 5),
    folds=st.integers(1, 4),
    scheme=st.sampled_from(["expanding", "rolling"]),
)
def test_windows_never_touch(
    days: int, window: int, horizons: tuple[int, ...], embargo: int, folds: int, scheme: str
) -> None:
    config = SplitConfig.model_validate({"embargo_days": embargo, "num_folds": folds, "scheme": scheme})
    try:
        split = plan_split(calendar(days), config, window, horizons)
    except InputError as error:
        needed = int(re.search(r"needs (\d+) ", str(error))[1])  # type: ignore[index]  # the message always says it
        assert days < needed
        plan_split(calendar(needed), config, window, horizons)
        return
    reach = max(horizons) + 1 + embargo  # a label entered at the next close ends a day later too
    for fold in split.folds:
        assert fold.train[-1] + reach < fold.valid[0] - (window - 1)
        assert fold.valid[-1] + reach < split.holdout[0] - (window - 1)
        assert len(fold.train) >= 20
        assert len(fold.valid) >= 10
    for earlier, later in zip(split.folds, split.folds[1:], strict=False):
        assert earlier.valid.stop == later.valid.start
        grown = len(later.train) - len(earlier.train)
        assert grown == (0 if scheme == "rolling" else len(earlier.valid))
    assert split.holdout.stop == days


def test_dates_are_the_last_days_of_their_windows() -> None:
    dates = calendar(600)
    config = SplitConfig(train_start=date(2019, 2, 2), train_end=date(2020, 1, 4), valid_end=date(2020, 8, 31))
    split = plan_split(dates, config, window=10, horizons=(1, 5))
    (fold,) = split.folds
    assert str(dates[fold.train.start]) == "2019-02-04"
    assert str(dates[fold.valid.start]) == "2020-01-06"
    assert str(dates[split.holdout.start]) == "2020-09-01"
    assert split.gap == 15
    assert fold.train.stop == fold.valid.start - 15
    assert fold.valid.stop == split.holdout.start - 15


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (SplitConfig(train_start=date(2030, 1, 1)), "train_start=2030-01-01 is after the panel's last day"),
        (SplitConfig(train_end=date(2018, 1, 1)), "train_end=2018-01-01 is not inside the panel, which runs from 2019"),
        (SplitConfig(valid_end=date(2030, 1, 1)), "valid_end=2030-01-01 is not inside the panel"),
        (
            SplitConfig(train_end=date(2020, 1, 6), valid_end=date(2020, 1, 20)),
            r"0 validation days are left before a gap of 15 .* at least 10 are needed; move data.split's dates apart",
        ),
        (SplitConfig(valid_end=date(2021, 4, 14)), r"\d holdout days are left \(trading days\)"),
    ],
)
def test_refusals(config: SplitConfig, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        plan_split(calendar(600), config, window=10, horizons=(1, 5))
