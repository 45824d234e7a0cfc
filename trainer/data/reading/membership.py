"""Who belongs to the universe on which days, from a file of spells: symbol, from, to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainer.data.market import Market, Wide
from trainer.data.reading.cells import EMPTY, day_words, days, words
from trainer.data.reading.columns import ROLES, bare
from trainer.data.reading.files import files_of
from trainer.data.reading.formats import Part, open_part
from trainer.errors import InputError

SPELL: Mapping[str, tuple[str, ...]] = {
    "symbol": ROLES["symbol"],
    "from": ("from", "fromdate", "start", "startdate", "added", "dateadded", "entry", "entrydate", "since", "in"),
    "to": ("to", "todate", "end", "enddate", "removed", "dateremoved", "exit", "exitdate", "until", "thru", "out"),
}
"""Column of a membership file to the names it goes by, bare."""

SETTING = "data.membership"
SHOWN = 5

EVER, STILL = np.datetime64("0001-01-01"), np.datetime64("9999-12-31")


def restrict(market: Market, path: str) -> Market:
    """The market whose universe of a day are the members of the day, as well as what its own column says.

    A spell includes both of its days; an empty `from` means since ever, an empty `to` until today. A symbol may have
    several. Raises InputError where the file cannot be read, a spell ends before it begins, or none is of the market.
    """
    symbols, starts, ends = _spells(path)
    known = set(symbols)
    if not known & set(market.symbols):
        raise InputError(
            f"{SETTING}={path}: none of its {len(known)} symbols ({_list(sorted(known))}) is one of {market.name} "
            f"({_list(market.symbols)}); write them alike."
        )
    position = {symbol: number for number, symbol in enumerate(market.symbols)}
    members = np.zeros((len(market.dates), len(market.symbols)), dtype=bool)
    strangers = set()
    for symbol, start, end in zip(symbols, starts, ends, strict=True):
        days = slice(*np.searchsorted(market.dates, [start, end + 1]))
        if symbol in position:
            members[days, position[symbol]] = True
        elif days.start < days.stop:
            strangers.add(symbol)

    def read(name: str) -> Wide:
        if name != "universe":
            return market.read(name)
        own = market.read(name) if name in market.columns else np.ones(members.shape)
        return np.where(members, own, 0.0)

    said = f"the universe of a day is taken from {path}: {len(symbols):,} spells of {len(known):,} symbols"
    return replace(
        market,
        columns=tuple(dict.fromkeys((*market.columns, "universe"))),
        read=read,
        warnings=(*market.warnings, *_warnings(path, members, strangers, market.symbols)),
        recognised=(*market.recognised, said),
    )


def _spells(path: str) -> tuple[list[str], NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Symbols, first and last days."""
    part = open_part(files_of(path, SETTING)[0], lambda name: True, whole=True)
    columns = {role: _column(part, role) for role in SPELL}
    symbols = words(part.column(columns["symbol"]))
    starts, ends = _days(part, columns["from"], EVER), _days(part, columns["to"], STILL)
    wrong = np.flatnonzero(ends < starts)
    if wrong.size:
        row = int(wrong[0])
        raise InputError(
            f"{part.line(row)}: the spell of {symbols[row]} ends on {ends[row]}, before it begins on {starts[row]}; "
            "correct it or remove the row."
        )
    empty = np.flatnonzero([not symbol for symbol in symbols])
    if empty.size:
        raise InputError(f"{part.line(int(empty[0]))}: {columns['symbol']} is empty; fill it in or remove the row.")
    return list(symbols), starts, ends


def _warnings(path: str, members: NDArray[np.bool_], strangers: set[str], symbols: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    if strangers:
        found.append(
            f"{len(strangers)} symbols of {SETTING}={path} were members in the panel's days and have no row in it "
            f"({_list(sorted(strangers))}): if they were delisted or renamed, what is left are the survivors."
        )
    never = [symbol for symbol, ever in zip(symbols, np.any(members, axis=0).tolist(), strict=True) if not ever]
    if never:
        found.append(f"{len(never)} symbols of the panel are never members ({_list(never)}) and are not ranked.")
    return tuple(found)


def _column(part: Part, role: str) -> str:
    found = [name for alias in SPELL[role] for name in part.schema.names if bare(name) == alias]
    if not found:
        raise InputError(
            f"{part.path}: column '{role}' is missing (there are {', '.join(part.schema.names)}); a membership file "
            "has the columns symbol, from, to."
        )
    return str(found[0])


def _days(part: Part, column: str, otherwise: np.datetime64) -> NDArray[np.datetime64]:
    """Days of a column, `otherwise` where a cell is empty."""
    written = day_words(part.column(column))
    empty = (
        np.array([word is None or word.lower() in EMPTY for word in written], dtype=bool)
        if written.dtype == object
        else np.isnat(written)
    )
    known = np.flatnonzero(~empty)
    found = np.full(len(written), otherwise)
    found[known] = days(written[known], lambda row: part.line(int(known[row])))
    return found


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
