"""A source becomes two folders, once; what cannot be used is refused in one sentence."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from trainer.config import DataConfig
from trainer.data import Prepared, ceiling, open_holdout, open_training, prepare
from trainer.data.panel import TARGETS
from trainer.errors import InputError

Bars = Callable[..., pd.DataFrame]
Write = Callable[..., str]
Settings = Mapping[str, object]


def configure(source: str, small: Settings, **changes: object) -> DataConfig:
    return DataConfig.model_validate({"source": source, **small, **changes})


def build(source: str, small: Settings, folder: Path, **changes: object) -> Prepared:
    return prepare(configure(source, small, **changes), 4, folder / "cache")


def test_search_ends_before_the_holdout_and_holdout_carries_context(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    prepared = build(write(bars(sectors=2)), small, tmp_path)
    search, holdout = open_training(prepared.search).panel, open_holdout(prepared.holdout)
    first = holdout.panel.dates[holdout.days.start]
    assert search.dates[-1] < first
    assert (len(search.dates), holdout.days) == (96, range(96, 120))
    assert search.features.shape == (96, 14, len(search.feature_names))
    for variant in TARGETS:
        for column, horizon in enumerate(search.horizons):
            reach = horizon + ("lag1" in variant)
            assert np.isnan(search.targets[variant][-reach:, :, column]).all()
            assert np.isfinite(search.targets[variant][-reach - 1, :, column]).all()
    np.testing.assert_array_equal(holdout.panel.features[:96], search.features)
    assert isinstance(search.features, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        search.features[0, 0, 0] = 1.0


def test_what_happens_in_the_holdout_changes_no_byte_of_search(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    table = bars(sectors=2)
    altered = table.copy()
    late = altered["date"] >= sorted(set(table["date"]))[96]
    altered.loc[late, ["open", "high", "low", "close"]] *= 1.5
    one = build(write(table, "a.parquet"), small, tmp_path)
    two = build(write(altered, "b.parquet"), small, tmp_path)
    assert one.fingerprint != two.fingerprint
    names = sorted(file.name for file in one.search.iterdir())
    assert names == sorted(file.name for file in two.search.iterdir())
    for name in names:
        assert (one.search / name).read_bytes() == (two.search / name).read_bytes(), name


def test_second_call_builds_nothing(
    bars: Bars, write: Write, small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(bars())
    first = build(source, small, tmp_path)
    monkeypatch.setattr(sys.modules[prepare.__module__], "_build", None)  # calling it would fail
    assert build(source, small, tmp_path) == first
    with pytest.raises(TypeError):
        build(source, small, tmp_path, min_price=1.0)


def test_changed_content_under_the_same_name_is_noticed(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    fingerprints = set()
    for seed, moment in ((0, 1_600_000_000), (1, 1_600_000_100), (0, 1_600_000_200)):
        source = write(bars(seed=seed), "prices.csv")
        os.utime(source, (moment, moment))
        fingerprints.add(build(source, small, tmp_path).fingerprint)
    assert len(fingerprints) == 2


def test_a_file_changed_just_now_is_read_again(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    source = write(bars(), "prices.csv")
    build(source, small, tmp_path)
    assert set(json.loads((tmp_path / "cache" / "sources.json").read_text())) == {"checksum"}


def test_training_target_is_no_part_of_the_fingerprint(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    source = write(bars())
    plain = build(source, small, tmp_path)
    assert build(source, small, tmp_path, target="neutral", target_lag=1) == plain
    assert build(source, small, tmp_path, horizons=(1, 2)).fingerprint != plain.fingerprint


def test_two_callers_at_once_share_one_build(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    source = write(bars())
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: build(source, small, tmp_path), range(2))
    assert one == two
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_a_failed_build_leaves_nothing_behind(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    table = bars()
    with pytest.raises(InputError, match="prices must be positive"):
        build(write(with_cell(table, "low", 0.0)), small, tmp_path)
    assert not [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]


def test_progress_rises_to_one(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    shares: list[float] = []
    config = configure(write(bars()), small)
    prepare(config, 4, tmp_path / "cache", lambda stage, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def with_cell(table: pd.DataFrame, column: str, value: float, row: int = 130) -> pd.DataFrame:
    changed = table.astype({column: float})
    changed.loc[row, column] = value
    return changed


def trailing_target(table: pd.DataFrame) -> pd.DataFrame:
    close = table.groupby("symbol")["close"]
    return table.assign(target_3d=close.shift(-2) / close.shift(1) - 1)  # begins a close too early


REFUSALS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "zero price": (
        lambda t: with_cell(t, "low", 0.0),
        r"prices.parquet, row 131 \(S01, 2020-01-15\): low is 0, but prices must be positive \(1 such rows\); correct",
    ),
    "negative volume": (
        lambda t: with_cell(t, "volume", -5.0),
        r"row 131 .*: volume is -5, but volumes must not be neg",
    ),
    "infinite": (lambda t: with_cell(t, "close", np.inf), r"row 131 .*: close is inf, but values must be finite"),
    "infinite feature": (lambda t: with_cell(t.assign(a=t["close"]), "a", -np.inf), r"row 131 .*: a is -inf"),
    "an incredible price": (lambda t: with_cell(t, "close", 1e300), r"close is 1e\+300, but prices must lie in 1e-09"),
    "an incredible volume": (lambda t: with_cell(t, "volume", 1e300), r"volumes above 1e\+18 are not credible"),
    "an incredible target": (
        lambda t: with_cell(t.assign(target_3d=0.1 * t.index), "target_3d", 1e300),
        r"target_3d is 1e\+300, but returns beyond 1e\+06 are not one",
    ),
    "high below low": (
        lambda t: t.assign(high=t["low"].where(t.index < 50, t["high"]), low=t["high"].where(t.index < 50, t["low"])),
        r"of 1,680 bars 50 have their high below their low and \d+ their open or close outside",
    ),
    "close outside of the bar": (
        lambda t: t.assign(close=t["close"].where(t.index > 50, t["high"] * 1.01)),
        r"of 1,680 bars 0 have their high below their low and 51 their open or close outside",
    ),
    "few stocks": (
        lambda t: t[t["symbol"] < "S09"],
        r"on 120 of 120 days fewer than 10 stocks are usable \(median 9\); give more stocks",
    ),
    "past return in the target": (
        trailing_target,
        r"column 'target_3d' has a mean daily rank correlation of 0\.\d\d with the return into the day, .* so shift",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(bars: Bars, write: Write, small: Settings, tmp_path: Path, case: str) -> None:
    spoil, sentence = REFUSALS[case]
    with pytest.raises(InputError, match=sentence):
        build(write(spoil(bars())), small, tmp_path)


def test_too_short_for_the_split(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"too short for the split: .* it has 55 days and needs 56 "):
        build(write(bars(days=55)), small, tmp_path)
    build(write(bars(days=56)), small, tmp_path)


def test_minimum_price_masks_and_needs_a_close(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    table = bars(stocks=20)
    cheap = table["symbol"] == "S05"
    table.loc[cheap, ["open", "high", "low", "close"]] /= 100
    panel = open_training(build(write(table), small, tmp_path, min_price=5.0).search).panel
    assert not panel.mask[:, 5].any()
    assert panel.mask[60:, 6].all()
    ready = table[["date", "symbol"]].assign(alpha=table["close"], target_1d=table["low"], target_3d=table["low"])
    with pytest.raises(InputError, match=r"data.min_price=5 needs a column 'close'"):
        build(write(ready), small, tmp_path, min_price=5.0)


def test_jumps_gaps_and_empty_cells_are_warned_about_and_not_mended(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    table = bars()
    table.loc[130:, ["open", "high", "low", "close"]] *= np.where(table.loc[130:, ["symbol"]] == "S01", 4.0, 1.0)
    table.loc[5, "open"] = np.nan
    table.loc[1030, ["open", "high", "low", "close"]] /= 5.5
    prepared = build(write(table.drop(index=[250])), small, tmp_path)
    split, jump, gap, short, empty = (
        next(text for text in prepared.warnings if word in text)
        for word in ("after a split", "3x", "Missing", "too few", "without open")
    )
    assert "S01 2020-01-15 (3.92x)" in split
    assert jump.startswith("2 closes with a jump")
    assert gap == "Missing stock-days between a stock's first and last row: 1, of 1 of the stocks."
    assert "momentum_12_1" in short
    assert empty == "Rows without open: 1."
    assert float(open_training(prepared.search).panel.returns[10, 1]) > 2.5


def test_constant_columns_are_left_out_with_a_warning(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    table = bars()
    plain = open_training(build(write(table), small, tmp_path).search).panel
    more = table.assign(alpha=3.0, vix=table["date"].rank(), beta=1.0 * table["volume"])
    prepared = build(write(more, "more.parquet"), small, tmp_path)
    assert any(warning.startswith("alpha, vix: left out, being constant") for warning in prepared.warnings)
    panel = open_training(prepared.search).panel
    assert panel.feature_names == (*plain.feature_names, "beta")
    np.testing.assert_array_equal(panel.features[..., :-1], plain.features)
    only = table[["date", "symbol", "close"]].assign(alpha=3.0)
    with pytest.raises(InputError, match="every feature is the same for all stocks"):
        build(write(only), small, tmp_path)


def test_a_few_bars_that_contradict_themselves_are_counted(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    table = bars()
    table.loc[5:7, ["high", "low"]] = table.loc[5:7, ["low", "high"]].to_numpy().copy()
    said = next(text for text in build(write(table), small, tmp_path).warnings if "high below" in text)
    assert "of 1,680 bars 3 have their high below their low" in said
    assert "row 6 (S00, 2020-01-08): they are used as they are" in said


def test_ready_features_with_their_own_targets(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = bars()[["date", "symbol"]]
    for name in ("alpha", "beta", "target_1d", "target_3d"):
        table[name] = rng.standard_normal(len(table))
    prepared = build(write(table.drop(index=[7])), small, tmp_path)
    panel = open_training(prepared.search).panel
    assert panel.feature_names == ("alpha", "beta")
    assert not panel.mask[7, 0]
    raw = table["target_3d"].to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(panel.targets["raw"][:7, 0, 1], raw[:7])
    np.testing.assert_array_equal(panel.targets["lag1"][:6, 0, 1], raw[1:7])
    np.testing.assert_array_equal(panel.returns[1:7, 0], table["target_1d"].to_numpy(dtype=np.float32)[:6])


def test_a_horizon_without_close_or_target_is_refused(
    bars: Bars, write: Write, small: Settings, tmp_path: Path
) -> None:
    table = bars()[["date", "symbol", "close"]].rename(columns={"close": "alpha"})
    with pytest.raises(InputError, match=r"column 'target_3d' is missing, and so is 'close'"):
        build(write(table.assign(target_1d=1.0 * table.index)), small, tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"horizons": (5, 1)}, "ascending order"),
        ({"horizons": ()}, "ascending order"),
        ({"split": {"train_fraction": 0.7, "valid_fraction": 0.3}}, "leave nothing for the holdout"),
        ({"split": {"train_end": "2020-02-01", "valid_end": "2020-01-01"}}, "put them in order"),
    ],
)
def test_settings_that_contradict_themselves(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        DataConfig.model_validate(changes)


def test_real_data_has_no_ceiling(bars: Bars, write: Write, small: Settings, tmp_path: Path) -> None:
    assert ceiling(open_training(build(write(bars()), small, tmp_path).search).panel, range(50)) == {}
