"""Cells of files as people write them, made words, numbers and days."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from trainer.errors import InputError

EMPTY = ("", "na", "n/a", "nan", "null", "none", "#n/a", "nat", "-", "--", "\\n", "n.a.")
"""Words of a cell, in lower case, that say there is nothing."""

DECORATION = re.compile(r"[\s$€£¥%']")
"""What stands in numbers without changing them. A percent sign is the same for every stock."""
SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}

TIME_OF_DAY = re.compile(r"[T ]+\d{1,2}:\d{2}.*$")
WEEKDAY = re.compile(r"^(mon|tue|wed|thu|fri|sat|sun)[a-z]*[-,. ]+", re.IGNORECASE)
DATE_FORMS = (
    (re.compile(r"\d{8}"), "%Y%m%d"),
    (re.compile(r"\d{4}-\d{1,2}-\d{1,2}"), "%Y-%m-%d"),
    (re.compile(r"\d{1,2}[a-z]{3}\d{4}", re.IGNORECASE), "%d%b%Y"),
    (re.compile(r"\d{1,2}-[a-z]{3}-\d{4}", re.IGNORECASE), "%d-%b-%Y"),
    (re.compile(r"\d{1,2}-[a-z]{3}-\d{2}", re.IGNORECASE), "%d-%b-%y"),
    (re.compile(r"\d{1,2}-[a-z]{4,}-\d{4}", re.IGNORECASE), "%d-%B-%Y"),
    (re.compile(r"[a-z]{3}-\d{1,2}-\d{4}", re.IGNORECASE), "%b-%d-%Y"),
    (re.compile(r"[a-z]{4,}-\d{1,2}-\d{4}", re.IGNORECASE), "%B-%d-%Y"),
)
"""How a day is written, once its parts are joined by hyphens, and its format."""
SHORT_DATE = re.compile(r"(\d{1,2})-(\d{1,2})-(\d{4}|\d{2})")
"""Day, month and year, or month, day and year."""

Place = Callable[[int], str]
"""Where the row-th value stands, for messages."""


def is_number(kind: pa.DataType) -> bool:
    """Whether a column's type is one of numbers."""
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def words(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """Stripped texts; whole numbers that are kept as floats without their `.0`; None where a cell is empty."""
    if pa.types.is_floating(column.type):
        column = pyarrow.compute.cast(column, pa.int64(), safe=False)
    found = np.array(column.cast(pa.string()).to_pylist(), dtype=object)
    unique = {word: word.strip() if word is not None else None for word in set(found)}
    stripped: NDArray[np.object_] = np.array([unique[word] for word in found], dtype=object)
    return stripped


def numbers(column: pa.ChunkedArray, name: str, place: Place) -> NDArray[np.float64]:
    """Numbers, also with currency signs, separators of thousands, a decimal comma, `1.2M` or `(3.4)` for -3.4.

    Raises InputError where a cell is not one.
    """
    if is_number(column.type):
        values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
        return values
    text = pd.Series(words(column), dtype=object)
    empty = text.map(lambda word: word is None or word.lower() in EMPTY)
    plain = pd.to_numeric(text, errors="coerce")
    if (plain.isna() & ~empty).any():
        plain = _decorated(text.where(~empty))
    wrong = np.flatnonzero(plain.isna() & ~empty)
    if wrong.size:
        raise InputError(
            f"{place(int(wrong[0]))}: {name} is '{text.iloc[wrong[0]]:.40}', which is not a number; correct it or "
            "leave the cell empty."
        )
    return plain.to_numpy(dtype=np.float64)


def _decorated(text: pd.Series) -> pd.Series:
    """Numbers from texts; NaN where one is none. What a comma means is decided for the column as a whole."""
    bare = text.str.replace(DECORATION, "", regex=True).str.replace("\N{MINUS SIGN}", "-")
    bare = bare.str.replace(r"^\((.+)\)$", r"-\1", regex=True)
    scale = bare.str[-1:].str.lower().map(SCALES)
    bare = bare.where(scale.isna(), bare.str[:-1])
    if _comma_is_decimal(bare.dropna()):
        bare = bare.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    else:
        grouped = bare.str.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d*)?", na=False).astype(bool)
        bare = bare.where(~grouped, bare.str.replace(",", ""))
    return pd.to_numeric(bare, errors="coerce") * scale.fillna(1.0)


def _comma_is_decimal(text: pd.Series) -> bool:
    """Whether commas separate the decimals: where one comes after a point, alone before other than three digits, or
    after a leading zero."""
    return bool(text.str.contains(r"\..*,|^-?\d*,(?:\d{1,2}|\d{4,})$|^-?0,", regex=True).any())


def days(column: NDArray[Any], place: Place) -> NDArray[np.datetime64]:
    """Days from words or datetimes: ISO, YYYYMMDD, months by name, or day, month and year in whichever order the
    values themselves tell apart; the time of day and its zone are left out.

    Raises InputError where a cell is none, or the order cannot be told.
    """
    if column.dtype == object:
        codes, unique = pd.factorize(column, use_na_sentinel=False)
        written = [str(word or "") for word in unique]
        text = pd.Series(list(map(_joined, written)), dtype=str)
        found: NDArray[np.datetime64] = pd.Series(
            pd.to_datetime(text, format=_form(text, written, place), errors="coerce")
        ).to_numpy()[codes]
    else:
        found = column
    wrong = np.flatnonzero(np.isnat(found))
    if wrong.size:
        shown = column[wrong[0]] if column.dtype == object else None
        raise InputError(
            f"{place(int(wrong[0]))}: the date '{shown or '':.40}' cannot be read; write dates as YYYY-MM-DD."
        )
    return found.astype("datetime64[D]")


def day_words(column: pa.ChunkedArray) -> NDArray[Any]:
    """What `days` takes: days where the column's type tells them, in the time zone they are kept in, else words."""
    if not (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        return words(column)
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = pyarrow.compute.local_timestamp(column)
    found: NDArray[np.datetime64] = column.cast(pa.date32()).to_numpy().astype("datetime64[D]")
    return found


def _joined(word: str) -> str:
    """A date without weekday and time of day, its parts joined by hyphens."""
    return re.sub(r"[-/., ]+", "-", WEEKDAY.sub("", TIME_OF_DAY.sub("", word)).removesuffix(".0"))


def _form(text: pd.Series, written: Sequence[str], place: Place) -> str:
    """The format of the first word; of all words, where they must tell the order of day and month. written: the words
    before they were joined by hyphens."""
    known = text[~text.str.lower().isin(EMPTY)]
    if not len(known):
        return "ISO8601"
    first = str(known.iloc[0])
    short = known.str.extract(SHORT_DATE)
    if not SHORT_DATE.fullmatch(first):
        return next((form for pattern, form in DATE_FORMS if pattern.fullmatch(first)), "ISO8601")
    year = "%Y" if len(str(short[2].iloc[0])) == 4 else "%y"
    if (short[0].astype(float) > 12).any():
        return f"%d-%m-{year}"
    if (short[1].astype(float) > 12).any():
        return f"%m-%d-{year}"
    shown = written[int(known.index[0])]
    raise InputError(
        f"{place(0)}: whether dates such as '{shown}' start with the day or the month cannot be told; write them as "
        "YYYY-MM-DD."
    )
