"""Reads a Parquet, Feather or CSV file, or a folder of them, in long format (one row per date and symbol)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from trainer.config import ColumnsConfig
from trainer.data.market import OHLCV, Market, Wide, is_target
from trainer.data.reading.columns import BARS, BY_NAME, Recognised, is_key, missing, recognise, require
from trainer.data.reading.files import files_of
from trainer.data.reading.formats import Part, open_part
from trainer.data.reading.prices import Prices, choose_prices
from trainer.data.reading.table import Keys, LongTable, as_truth, common_columns
from trainer.data.reading.wide import is_wide, read_wide
from trainer.errors import InputError

MANY_FILES = 64
"""A folder of more files is read at once; of fewer, a column at a time."""

MAX_FEATURES = 2_000
"""Most ready features of a source."""

SHOWN = 12

TOTALS = ("total", "totals", "grand total", "average", "summe", "gesamt", "portfolio")
"""Symbols, in lower case, that are no stocks."""


def load(source: str, columns: ColumnsConfig | None = None) -> Market:
    """The market in a file or folder. Raises InputError naming file, column, row, rule and remedy."""
    parts, found = _open(source, columns or ColumnsConfig())
    table = LongTable(parts, found)
    kept: dict[str, Wide] = {}

    def wide(column: str) -> Wide:
        if column in found.others:
            return table.wide(column)  # read once
        if column not in kept:
            kept[column] = table.wide(column)
        return kept[column]

    prices = choose_prices(found, wide)
    read: dict[str, Callable[[], Wide]] = {**prices.read}
    if "universe" in found.roles:
        read["universe"] = lambda: as_truth(table, found.roles["universe"])
    if "delisting_return" in found.roles:
        read["delisting_return"] = lambda: wide(found.roles["delisting_return"])
    numbers = [name for name in found.others if is_target(name) or table.is_number(name)]
    ready = [name for name in numbers if not is_target(name)]
    require(parts[0].path, found, (*prices.read, *filter(is_target, numbers)), ready, parts[0].schema.names)
    if len(ready) > MAX_FEATURES:
        raise InputError(
            f"{source} has {len(ready):,} feature columns; at most {MAX_FEATURES:,} are taken: keep the best ones."
        )
    idle = [] if set(OHLCV) <= set(read) else [name for name in BARS[:3] if name in read]
    for name in idle:
        del read[name]
    left_out = {
        **found.left_out,
        **prices.left_out,
        **{name: "text" for name in found.others if name not in numbers},
        **{prices.taken[name]: "bars are not complete" for name in idle},
    }
    read |= {name: partial(table.wide, name) for name in numbers}
    keys = table.keys
    sectors, sector_names = _sectors(table, found, keys)
    return Market(
        name=source,
        dates=keys.dates,
        symbols=keys.symbols,
        columns=tuple(read),
        read=lambda name: read[name](),
        row=table.row,
        rows=keys.rows,
        sectors=sectors,
        sector_names=sector_names,
        warnings=_warnings(keys, left_out),
        recognised=_recognised(found, prices, ready),
    )


def _open(source: str, given: ColumnsConfig) -> tuple[Sequence[Part], Recognised]:
    """The source's parts, all with the same columns, and what the columns are taken for."""
    files = files_of(source)
    if is_wide(files):
        parts = [read_wide(Path(source), files)]
    else:
        parts = [open_part(file, lambda name: is_key(name, given), whole=len(files) > MANY_FILES) for file in files]
    common_columns(parts)
    schema = parts[0].schema
    found = recognise(files[0], schema.names, given)
    for role in ("date", "symbol") if len(parts) == 1 else ("date",):
        if role not in found.roles:
            raise missing(files[0], role, schema.names)
    for column in found.roles.values():
        if pa.types.is_nested(schema.field(column).type):
            raise InputError(f"{files[0]}: {column} holds lists or mappings; give one value in each cell.")
    return parts, found


def _recognised(found: Recognised, prices: Prices, ready: Sequence[str]) -> tuple[str, ...]:
    """A sentence for every column that is used, and how the prices were chosen."""
    taken = {column: role for role, column in found.roles.items()}
    plain = [column for column, role in taken.items() if column == role and found.why[column] == BY_NAME]
    lines = [f"{', '.join(plain)} are what their names say"] if plain else []
    lines += [
        f"{column} is taken as {role} (by {found.why[column]})" for column, role in taken.items() if column not in plain
    ]
    if "symbol" not in found.roles:
        lines.append("the files' names are taken as symbol (there is no such column)")
    if prices.note:
        lines.append(prices.note)
    if ready:
        shown = ", ".join(ready[:SHOWN]) + (f" and {len(ready) - SHOWN} more" if len(ready) > SHOWN else "")
        lines.append(f"{shown} are taken as features (numbers of no other role)")
    return tuple(lines)


def _warnings(keys: Keys, left_out: Mapping[str, str]) -> tuple[str, ...]:
    found = []
    if left_out:
        found.append("columns not used: " + ", ".join(f"{name} ({why})" for name, why in left_out.items()) + ".")
    if not keys.is_sorted:
        found.append("the rows are not in the order of their dates; they were sorted.")
    totals = [symbol for symbol in keys.symbols if symbol.lower() in TOTALS]
    if totals:
        found.append(f"the symbols {', '.join(totals)} look like totals and are taken for stocks; remove their rows.")
    if keys.merged:
        pairs = [f"{spelling} for {chosen}" for spelling, chosen in sorted(keys.merged.items())]
        found.append(
            f"{len(pairs)} symbols differ from another in upper and lower case alone and were taken for it: "
            f"{', '.join(pairs[:SHOWN])}."
        )
    return tuple(found)


def _sectors(table: LongTable, found: Recognised, keys: Keys) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Sector numbers [D, S] and names: the one that a stock was last seen with by the day."""
    sectors = np.full((len(keys.dates), len(keys.symbols)), -1, dtype=np.int16)
    if "sector" not in found.roles:
        return sectors, ()
    text = table.text(found.roles["sector"])
    known = np.flatnonzero(pd.notna(text))
    codes, names = pd.factorize(text[known], sort=True)
    sectors[keys.day[known], keys.stock[known]] = codes
    latest = np.maximum.accumulate(np.where(sectors >= 0, np.arange(len(sectors))[:, None], 0), axis=0)
    return np.take_along_axis(sectors, latest, axis=0), tuple(map(str, names))
