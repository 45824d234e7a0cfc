"""A file of spells says who belongs to the universe on which days."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.config import DataConfig
from trainer.data import open_training, prepare
from trainer.data.features import usable
from trainer.data.reading import load, restrict
from trainer.errors import InputError

Bars = Callable[..., pd.DataFrame]
Write = Callable[..., str]

SPELLS = """Ticker,Date added,Date removed
S00,,
S01,2020-02-10,2020-02-20
S01,2020-03-02,
S02,,2020-02-14
GONE,2020-01-15,2020-04-01
OLD,1999-01-01,2003-01-01
"""


def membership(folder: Path, text: str = SPELLS, name: str = "members.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_both_days_of_a_spell_belong_to_it_and_open_ends_never_end(bars: Bars, write: Write, tmp_path: Path) -> None:
    market = restrict(load(write(bars())), membership(tmp_path))
    inside = pd.DataFrame(market.read("universe") > 0, index=market.dates, columns=market.symbols)
    assert inside["S00"].all()
    joined = inside["S01"]
    assert joined["2020-02-10":"2020-02-20"].all()
    assert joined["2020-03-02":].all()
    assert not joined[:"2020-02-07"].any()
    assert not joined["2020-02-21":"2020-02-28"].any()
    assert inside["S02"][:"2020-02-14"].all()
    assert not inside["S02"]["2020-02-17":].any()
    assert not inside["S03"].any()
    assert "6 spells of 5 symbols" in market.recognised[-1]
    missing, never = market.warnings
    assert missing.startswith("1 symbols of data.membership=")
    assert "have no row in it (GONE): if they were delisted" in missing
    assert never.startswith("11 symbols of the panel are never members (S03")


def test_it_masks_with_the_column_but_not_the_history(bars: Bars, write: Write, tmp_path: Path) -> None:
    table = bars().assign(universe=lambda t: t["symbol"] != "S00")
    market = restrict(load(write(table)), membership(tmp_path))
    mask = usable(market, 0.0)
    first = int(np.searchsorted(market.dates, np.datetime64("2020-03-02")))
    assert not mask[:, 0].any()
    assert mask[first:, 1].all()
    np.testing.assert_array_equal(market.read("close"), load(write(table)).read("close"))


def test_preparation_reads_it_and_knows_its_content(
    bars: Bars, write: Write, small: Mapping[str, object], tmp_path: Path
) -> None:
    source = write(bars(stocks=20))
    everyone = "symbol,from,to\n" + "".join(f"S{number:02d},,\n" for number in range(1, 20))
    fingerprints = set()
    for name, text in (("a.csv", everyone), ("b.csv", f"{everyone}S00,2020-03-02,\n")):
        config = DataConfig.model_validate({"source": source, "membership": membership(tmp_path, text, name), **small})
        prepared = prepare(config, 4, tmp_path / "cache")
        fingerprints.add(prepared.fingerprint)
        mask = open_training(prepared.search).panel.mask
        assert mask[50:, 1:].all()
        assert mask[:, 0].sum() == (0 if name == "a.csv" else 96 - 43)
    assert len(fingerprints) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("symbol,from\nS00,\n", r"members.csv: column 'to' is missing .* has the columns symbol, from, to"),
        (
            "symbol,from,to\nS00,2020-03-01,2020-02-01\n",
            "line 2: the spell of S00 ends on 2020-02-01, before it begins",
        ),
        ("symbol,from,to\nS00,soon,\n", r"line 2: the date 'soon' cannot be read"),
        ("symbol,from,to\n,2020-01-01,\n", "line 2: symbol is empty"),
        ("symbol,from,to\nAAPL,,\n", r"data.membership=.*members.csv: none of its 1 symbols \(AAPL\) is one of"),
    ],
)
def test_what_cannot_be_meant_is_refused(bars: Bars, write: Write, tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        restrict(load(write(bars())), membership(tmp_path, text))


def test_a_file_that_is_not_there_is_named_with_its_setting(bars: Bars, write: Write) -> None:
    with pytest.raises(
        InputError, match=r"data.membership=/nowhere/m.csv: there is no such file or folder; .* 'universe'"
    ):
        restrict(load(write(bars())), "/nowhere/m.csv")
