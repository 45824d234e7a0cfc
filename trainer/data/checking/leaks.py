"""Whether a feature contains the answer: its daily rank correlation with forward returns on the training days."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.checking.shares import sector_that_follows, stocks_that_follow
from trainer.data.cross_section import rank_normalise
from trainer.data.market import Market, Wide, is_target
from trainer.data.rolling import shift
from trainer.errors import InputError

WARNED, REFUSED = 0.10, 0.30
"""Absolute mean daily RankIC from which a feature is warned of and refused. Price features reach .03 to .05."""

WINDOWS = ((0, 1), (1, 2), (2, 3), (0, 5), (5, 10), (0, 20), (20, 40), (0, 60), (60, 120))
"""Trading days (a, b]: returns from the close a days later to the close b days later. Every label over some days from
some day on overlaps with one of them by a good part, also a shifted one and one of a horizon nobody trains on."""

STANDARD_ERRORS = 5.0
"""A mean must be this many standard errors from 0 to count, so that a short panel is not accused of its luck."""

FEWEST_PARTS = 6

AS_ONE, MIN_STOCKS, FEW_DAYS, DAYS_SHARE = 0.9, 20, 3, 0.005
"""A feature that orders at least MIN_STOCKS stocks as their returns do (correlation of AS_ONE or more) on at least
FEW_DAYS days and DAYS_SHARE of all contains the answer of some days."""

CHANGES = (1, 20)
"""Days over which a feature's change is looked at."""

BLOCKS, SHORT = 16, 5
"""Consecutive parts of the training days, each judged by itself against windows of at most SHORT days."""

MOST_CELLS = 40_000_000
"""Days are left out evenly where the ranked returns would be more numbers than this."""

SUSPICIOUS = frozenset(
    {"label", "labels", "target", "targets", "fwd", "forward", "future", "next", "ahead", "tomorrow"}
)
HARMLESS = frozenset({"pe", "eps", "pb", "ps", "ev", "ebitda", "earnings", "sales", "revenue", "estimate", "price"})
"""Words of a feature's name that speak of the future, and words beside which they speak of analysts instead."""


@dataclass(frozen=True)
class _Window:
    """A forward return: how messages call it, its days, and its ranks scaled to length 1 a day, with their validity."""

    text: str
    days: int
    ranks: NDArray[np.float32]
    valid: NDArray[np.float32]


class Answers:
    """The returns that follow the training days, to hold features against.

    days: positions of the training days; only returns that end within them are looked at. trust: features that are
    let in whatever they are.
    """

    def __init__(
        self, market: Market, mask: NDArray[np.bool_], days: range, horizons: Sequence[int], trust: Collection[str]
    ) -> None:
        self._name, self._trust, self._ready = market.name, trust, frozenset(market.ready)
        windows = sorted({*WINDOWS, *((0, horizon) for horizon in horizons)})
        cells = len(days) * mask.shape[1] * len(windows)
        self._days = np.arange(days.start, days.stop, 1 + cells // MOST_CELLS)
        self._sectors, self._sector_names = market.sectors[days.stop - 1], market.sector_names
        self._windows = [self._window(*found, mask, days.stop) for found in _returns(market, windows)]

    def judge(self, feature: str, ranked: NDArray[np.float32]) -> str | None:
        """A warning about a feature, given its ranks [D, S]; None if there is nothing to say.

        Raises InputError where it contains the answer, on all days or on some, or, where it is not one of the
        recipe's own, for some stocks.
        """
        if feature in self._trust:
            return None
        return self._judge(feature, "", ranked[self._days])

    def judge_hidden(self, feature: str, values: Wide, close: Wide | None, mask: NDArray[np.bool_]) -> str | None:
        """The same of what a model can compute from a feature of the user's: its changes, and, where it is positive as
        prices are, its ratio to the close. A later price is such a feature: its own order of the stocks says little.

        values, close: [D, S]; close None: the panel has no prices. mask: bool [D, S], the usable stock-days.
        """
        if feature in self._trust:
            return None
        forms = {f", as its change over {_days(days)},": values - shift(values, days) for days in CHANGES}
        if close is not None and not (values <= 0).any():
            forms[", divided by the close,"] = values / close
        said = []
        for form, made in forms.items():
            rows = made[self._days]
            said.append(self._judge(feature, form, rank_normalise(rows, mask[self._days] & np.isfinite(rows))))
        return next(filter(None, said), None)

    def _judge(self, feature: str, form: str, rows: NDArray[np.float32]) -> str | None:
        """rows: the training days of what was made of the feature; form: what that is, for messages."""
        worst, said = 0.0, ""
        for window in self._windows:
            daily = _daily_correlation(rows, window)
            mean = _credible_mean(daily, window)
            if abs(mean) > abs(worst):
                worst, said = mean, window.text
            reason = self._partly(daily, window) or (self._for_some(rows, window) if feature in self._ready else "")
            if abs(worst) <= REFUSED and reason:
                raise self._refusal(feature, form, reason)
        if abs(worst) > REFUSED:
            raise self._refusal(
                feature, form, f"has a mean daily RankIC of {worst:+.2f} with {said} on the training days"
            )
        if abs(worst) > WARNED:
            return (
                f"feature '{feature}'{form} has a mean daily RankIC of {worst:+.2f} with {said} on the training days, "
                f"more than is credible ({WARNED:g}): see that nothing in it is known only later."
            )
        return None

    def _partly(self, daily: NDArray[np.float64], window: _Window) -> str:
        """How it is the answer of some days, or an empty string."""
        crowded = np.isfinite(daily) & (window.valid.sum(axis=1) >= MIN_STOCKS)
        same = int((np.abs(daily[crowded]) >= AS_ONE).sum())
        if same >= max(FEW_DAYS, DAYS_SHARE * len(daily)):
            return f"orders the stocks as {window.text} does on {same} of {len(daily)} training days"
        if window.days <= SHORT:
            for block in np.array_split(np.arange(len(daily)), BLOCKS):
                mean = _credible_mean(daily[block], window)
                if abs(mean) > REFUSED:
                    return f"has a mean daily RankIC of {mean:+.2f} with {window.text} over {len(block)} training days"
        return ""

    def _for_some(self, rows: NDArray[np.float32], window: _Window) -> str:
        """How it is the answer of some stocks, or an empty string."""
        parts = rows, window.ranks, window.valid, window.days
        number = stocks_that_follow(*parts)
        if number:
            return f"moves over the training days as {window.text} does, in {number} of {rows.shape[1]} stocks"
        within = sector_that_follows(*parts, self._sectors, REFUSED)
        if within is None:
            return ""
        name = self._sector_names[within[0]]
        return f"has a mean daily RankIC of {within[1]:+.2f} with {window.text} within the sector '{name}'"

    def _refusal(self, feature: str, form: str, reason: str) -> InputError:
        return InputError(
            f"{self._name}: feature '{feature}'{form} {reason}: it contains the answer. Remove its column, or let it "
            f"in with data.trust=[{feature}]."
        )

    def _window(self, text: str, reach: int, days: int, values: Wide, mask: NDArray[np.bool_], stop: int) -> _Window:
        """reach: days after which the return is known; days: how many it spans."""
        rows = values[self._days]
        valid = np.isfinite(rows) & mask[self._days] & (self._days + reach < stop)[:, None]
        ranks = rank_normalise(rows, valid)
        length = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
        return _Window(text, days, ranks / np.maximum(length, 1e-9), valid.astype(np.float32))


def suspicious_names(names: Sequence[str], trust: Collection[str]) -> tuple[str, ...]:
    """A warning for features whose names speak of the future."""
    found = [name for name in names if name not in trust and _speaks_of_the_future(name)]
    if not found:
        return ()
    return (f"by their names these features may be known only later: {', '.join(found)}; see that they are not.",)


def _speaks_of_the_future(name: str) -> bool:
    words = set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))
    return bool(words & SUSPICIOUS) and not words & HARMLESS


def _returns(market: Market, windows: Sequence[tuple[int, int]]) -> Iterator[tuple[str, int, int, Wide]]:
    """Forward returns: text, days until it is known, days it spans, values [D, S]."""
    if "close" in market.columns:
        logs = np.log(market.read("close"))
        for start, end in windows:
            text = (
                f"the return over the next {end} day{'s' if end > 1 else ''}"
                if not start
                else f"the return of days {start + 1} to {end}"
            )
            yield text, end, end - start, shift(logs, -end) - shift(logs, -start)
    for name in filter(is_target, market.columns):
        horizon = int(name[7:-1])
        values = market.read(name)
        yield name, horizon, horizon, values
        yield f"{name} of {horizon} days later", 2 * horizon, horizon, shift(values, -horizon)


def _days(number: int) -> str:
    return "a day" if number == 1 else f"{number} days"


def _daily_correlation(rows: NDArray[np.float32], window: _Window) -> NDArray[np.float64]:
    """Pearson correlation of a feature's ranks with a window's, per day; NaN where too little is known."""
    count = window.valid.sum(axis=1)
    covariance = np.einsum("ds,ds->d", rows, window.ranks)
    total = np.einsum("ds,ds->d", rows, window.valid)
    squares = np.einsum("ds,ds,ds->d", rows, rows, window.valid)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.sqrt(np.maximum(squares - total**2 / count, 0.0))
        daily: NDArray[np.float64] = np.where((count >= 5) & (length > 1e-6), covariance / length, np.nan)
    return daily


def _credible_mean(daily: NDArray[np.float64], window: _Window) -> float:
    """The mean over the days, or 0 where so few independent days could give it by chance."""
    known = daily[np.isfinite(daily)]
    if not known.size:
        return 0.0
    mean = float(known.mean())
    return mean if abs(mean) > min(_luck(known, window), _luck_of_parts(known, window), AS_ONE) else 0.0


def _luck(known: NDArray[np.float64], window: _Window) -> float:
    """The most that chance gives, if the days of one window count as one."""
    stocks = float(np.median(window.valid.sum(axis=1)))
    spread = max(float(known.std()), 1 / np.sqrt(max(stocks - 1, 1)))
    return float(STANDARD_ERRORS * spread / np.sqrt(max(known.size / window.days, 1.0)))


def _luck_of_parts(known: NDArray[np.float64], window: _Window) -> float:
    """The same from how much the means of parts of two windows' length differ, which is less for a feature that is
    new every day; without end where there are too few parts to tell."""
    number = known.size // (2 * window.days)
    if number < FEWEST_PARTS:
        return np.inf
    means = np.array([part.mean() for part in np.array_split(known, number)])
    # A Student distribution's tails: with few parts their spread is itself a matter of luck.
    return float(STANDARD_ERRORS * (1 + 8 / (number - 1)) * means.std(ddof=1) / np.sqrt(number))
