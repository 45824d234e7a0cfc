"""Which column of a file is taken for what, and why: by the names that vendors give them, or by `data.columns`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.config import ColumnsConfig
from trainer.data.market import is_target
from trainer.errors import InputError
from trainer.suggestions import nearest

ROLES: Mapping[str, tuple[str, ...]] = {
    "date": (
        "date",
        "datetime",
        "day",
        "tradedate",
        "tradingdate",
        "timestamp",
        "caldt",
        "datadate",
        "日期",
        "交易日期",
        "日付",
    ),
    "symbol": (
        "symbol",
        "code",
        "ticker",
        "instrument",
        "tic",
        "permno",
        "isin",
        "secid",
        "localcode",
        "tscode",
        "股票代码",
        "代码",
        "銘柄コード",
        "コード",
        "name",
    ),
    "open": ("open", "openprice", "openingprice", "pxopen", "prcod", "openprc", "开盘", "开盘价", "始値", "o"),
    "high": ("high", "highprice", "pxhigh", "prchd", "最高", "最高价", "高値", "h"),
    "low": ("low", "lowprice", "pxlow", "prcld", "最低", "最低价", "安値", "l"),
    "close": (
        "close",
        "closeprice",
        "closingprice",
        "closelast",
        "pxlast",
        "lastprice",
        "prccd",
        "收盘",
        "收盘价",
        "終値",
        "last",
        "price",
        "c",
    ),
    "volume": ("volume", "vol", "pxvolume", "sharestraded", "cshtrd", "成交量", "出来高", "vo"),
    "adj_open": ("adjopen", "adjustedopen", "adjustmentopen", "openadj", "openadjusted", "adjo"),
    "adj_high": ("adjhigh", "adjustedhigh", "adjustmenthigh", "highadj", "highadjusted", "adjh"),
    "adj_low": ("adjlow", "adjustedlow", "adjustmentlow", "lowadj", "lowadjusted", "adjl"),
    "adj_close": ("adjclose", "adjustedclose", "adjustmentclose", "closeadj", "closeadjusted", "adjc"),
    "adj_volume": ("adjvolume", "adjustedvolume", "adjustmentvolume", "volumeadj", "volumeadjusted", "adjvo"),
    "turnover": ("turnovervalue", "dollarvolume", "tradedvalue", "amount", "成交额", "売買代金", "va"),
    "sector": (
        "sector",
        "sector17codename",
        "industry",
        "sector33codename",
        "gicssector",
        "sectorname",
        "行业",
        "業種",
    ),
    "universe": ("universe", "inuniverse", "indexmember", "isindexmember"),
    "delisting_return": ("delistingreturn", "dlret"),
}
"""Role to the names it goes by, bare: of several that are there, the first counts."""

WEAK = ("last", "price")
"""Names that count only beside other bars, as those of one letter do."""

BY_NAME = "its name"
BARS = ("open", "high", "low", "close", "volume")

ROW_NUMBER = "a row number"
UNNAMED = re.compile(r"|(unnamed|indexlevel|level)\d+")
"""Bare names that programs give to an index without a name."""

NO_FEATURES: Mapping[str, str] = {
    ROW_NUMBER: "index id rowid rownumber",
    "a payment, not a feature": "dividend dividends div dividendamount capitalgains",
    "an adjustment factor, which is written with later splits in mind": "adjustmentfactor adjfactor factor splitfactor "
    "splitcoefficient splitratio stocksplits splits split cumfactor ajexdi cfacpr cfacshr",
    "a level, not comparable between stocks and days": "marketcap mktcap marketcapitalization marketvalue vwap shrout "
    "sharesoutstanding adjustedvwap previousclose prevclose preclose upperlimit lowerlimit ul ll",
    "of no use in a price file": "openint openinterest per time",
}
"""Why a column is no feature, and the bare names it goes by. Renamed, it is taken as one."""

LEFT_OUT = {word: reason for reason, words in NO_FEATURES.items() for word in words.split()}


@dataclass(frozen=True)
class Recognised:
    """roles: role to the file's own column. why: the file's column to what told its role. left_out: column to the
    reason. others: the columns that remain, in the file's order."""

    roles: Mapping[str, str]
    why: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def bare(name: str) -> str:
    """A name as it is compared: `Adj Close`, `adj_close`, `<CLOSE>` and `$close` without case and punctuation."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def is_key(name: str, given: ColumnsConfig) -> bool:
    """Whether the column is one that is read letter by letter."""
    keys = ("date", "symbol", "sector", "universe")
    chosen = [getattr(given, role) for role in keys]
    return name in chosen or any(bare(name) in ROLES[role] for role in keys)


def recognise(file: Path, names: Sequence[str], given: ColumnsConfig) -> Recognised:
    """Tell the columns of a file apart. Raises InputError: a named column is not there, or two mean the same."""
    roles = {role: column for role, column in given.model_dump().items() if column is not None}
    for role, column in roles.items():
        if column not in names:
            raise InputError(
                f"data.columns.{role}={column}: {file} has no such column (there are {', '.join(names)})"
                f"{nearest(column, names) or '.'}"
            )
    why = dict.fromkeys(roles.values(), "data.columns")
    free = [name for name in names if name not in why]
    has_bars = _has_bars(free, roles)
    left_out = {name: LEFT_OUT[bare(name)] for name in free if bare(name) in LEFT_OUT}
    left_out |= {name: ROW_NUMBER for name in free if UNNAMED.fullmatch(bare(name))}
    for role, aliases in ROLES.items():
        if role in roles or (role == "turnover" and not has_bars):
            continue
        for alias in aliases:
            found = [name for name in free if bare(name) == alias and name not in why]
            if len(found) > 1:
                raise InputError(
                    f"{file}: the columns '{found[0]}' and '{found[1]}' both mean {role}; remove one of them, or say "
                    f"which with data.columns.{role}=NAME."
                )
            if found and role in roles:
                left_out[found[0]] = f"{roles[role]} is taken as {role}"
            elif found and (has_bars or (len(alias) > 1 and alias not in WEAK)):
                roles[role], why[found[0]] = found[0], BY_NAME
                left_out.pop(found[0], None)
    others = tuple(name for name in free if name not in why and name not in left_out)
    return Recognised(roles, why, left_out, others)


def missing(file: Path, role: str, names: Sequence[str]) -> InputError:
    """The sentence for a column that must be there."""
    close = difflib.get_close_matches(role, [column.lower() for column in names], n=1, cutoff=0.7)
    hint = f"; is '{next(c for c in names if c.lower() == close[0])}' meant? Rename it" if close else "; add it"
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return InputError(
        f"{file}: column '{role}' is missing (there are {shown}){hint}, or name it with data.columns.{role}=NAME."
    )


def require(file: Path, found: Recognised, values: Sequence[str], ready: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a file with neither complete bars nor ready features, or without anything to make labels from.

    values: the bars and targets there are; ready: the features.
    """
    if "close" not in values and not any(map(is_target, values)):
        raise missing(file, "close", names)
    for name in BARS:
        if name not in values and not ready:
            raise missing(file, name, names)


def _has_bars(free: Sequence[str], roles: Mapping[str, str]) -> bool:
    """Whether open, high, low and close are there by any of their names."""
    there = {bare(name) for name in free}
    return all(
        name in roles or f"adj_{name}" in roles or there & {*ROLES[name], *ROLES[f"adj_{name}"]} for name in BARS[:4]
    )
