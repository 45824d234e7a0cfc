"""Tables in memory become files that are written once and hold what the table held."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tiertune.sources import source_of

FRAME = pd.DataFrame({"date": pd.to_datetime(["2024-01-02", "2024-01-03"]), "symbol": ["A", "B"], "close": [1.0, 2.0]})


@pytest.mark.parametrize("given", ["planted:clean", "prices.csv", Path("folder/prices.parquet")])
def test_a_path_stays_what_it_is(given: str | Path, tmp_path: Path) -> None:
    assert source_of(given, tmp_path) == str(given)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("table", [FRAME, pa.Table.from_pandas(FRAME)], ids=["pandas", "pyarrow"])
def test_a_table_is_written_as_it_is(table: pd.DataFrame | pa.Table, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(source_of(table, tmp_path)), FRAME)


def test_equal_tables_are_one_file_and_others_are_not(tmp_path: Path) -> None:
    first = source_of(FRAME, tmp_path)
    assert source_of(FRAME.copy(), tmp_path) == first
    assert source_of(FRAME.assign(close=[1.0, 2.5]), tmp_path) != first
    assert len([*(tmp_path / "frames").iterdir()]) == 2


def test_named_levels_of_the_index_are_columns(tmp_path: Path) -> None:
    indexed = FRAME.set_index(["date", "symbol"])
    pd.testing.assert_frame_equal(pd.read_parquet(source_of(indexed, tmp_path)), FRAME)


def test_a_nameless_index_is_left_out(tmp_path: Path) -> None:
    shuffled = FRAME.set_index(pd.Index([7, 3]))
    assert pd.read_parquet(source_of(shuffled, tmp_path)).columns.tolist() == ["date", "symbol", "close"]
