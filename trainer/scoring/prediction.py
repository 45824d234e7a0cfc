"""Scores for rows in long format, a file or a data frame: the way from new data to one row per date and symbol."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.config import DataConfig
from trainer.data.checking.values import check_coverage, check_values
from trainer.data.features import FEATURES, make_features, too_long, usable
from trainer.data.market import Market
from trainer.data.panel import TARGETS, Panel
from trainer.data.reading import Rows, keep_table, load, restrict
from trainer.data.targets import daily_returns
from trainer.errors import InputError
from trainer.models.graph import LOOKBACK, REFRESH_DAYS
from trainer.scoring.committee import Committee
from trainer.scoring.scorer import Scorer


@dataclass(frozen=True)
class Prediction:
    """Scores of a market's days.

    table: `date, symbol, score_{h}d`, a row per usable stock-day; higher is better. num_context_days: days of the
    market before the first one scored. num_short_days: scored days that look back to before the market's first day,
    so that part of their input is missing.
    """

    table: pd.DataFrame
    num_context_days: int
    num_short_days: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person is told about them; the last line says how many there are."""
        notes = []
        if self.num_context_days:
            notes.append(f"{self.num_context_days} days that it was trained on served as look-back alone.")
        if self.num_short_days:
            notes.append(
                f"Warning: {self.num_short_days} of the scored days look back further than the data go; "
                "give more of the days before them."
            )
        days, symbols = self.table["date"].nunique(), self.table["symbol"].nunique()
        return (*notes, f"{len(self.table):,} scores, {days} days, {symbols} symbols")


def predict(source: str | Rows, scorer: Scorer | Committee, *, after: np.datetime64 | None = None) -> Prediction:
    """The scorer's scores of every usable stock-day of a Parquet or CSV file (or folder), a frame or an Arrow table
    like it.

    Where the model was trained with `data.membership`, the file is read again, unless there is a column `universe`.
    A score looks only at its own day and those before it, so give the days that the features look back on too.
    after: score only the days after this one.

    Raises:
        InputError: a row is not what the data rules allow; a column that the model was trained from is missing; the
            history is too short for a feature; no day lies after `after`; on most days there are too few stocks to
            rank.
    """
    market = _market(source, _members(scorer)[0].config.data)
    panel = _panel(market, scorer)
    first = 0 if after is None else int(np.searchsorted(panel.dates, after, side="right"))
    if first == len(panel.dates):
        raise InputError(
            f"{market.name} ends on {panel.dates[-1]}, but the model has learnt from the days up to {after}, and "
            "scores of those would be looking ahead; give the days that follow, with the earlier ones before them."
        )
    days = range(first, len(panel.dates))
    check_coverage(market, panel.mask, days)
    scores = scorer.score(panel, days)
    rows, stocks = np.nonzero(np.isfinite(scores).all(axis=2))
    keys = {"date": panel.dates[first:][rows], "symbol": np.array(panel.symbols, dtype=object)[stocks]}
    values = {f"score_{h}d": scores[rows, stocks, column] for column, h in enumerate(panel.horizons)}
    num_short = max(0, min(max(map(_look_back, _members(scorer))) - first, len(days)))
    return Prediction(pd.DataFrame(keys | values), first, num_short)


def _market(source: str | Rows, config: DataConfig) -> Market:
    """The rows as a market that keeps the data rules, all of it in memory."""
    if not isinstance(source, str):
        with tempfile.TemporaryDirectory() as folder:
            return replace(_market(str(keep_table(source, Path(folder))), config), name="the given frame")
    market = load(source, config.columns)
    if config.membership is not None and "universe" not in market.columns:
        market = restrict(market, config.membership)
    check_values(market)
    return replace(market, read={name: market.read(name) for name in market.columns}.__getitem__)


def _panel(market: Market, scorer: Scorer | Committee) -> Panel:
    """The market with the scorer's features, made by the same recipe, and no labels. Other columns are passed over."""
    late = [name for name in too_long(market) if name in scorer.feature_names]
    if late:
        raise InputError(
            f"{market.name} has {len(market.dates)} days, and {late[0]} looks back {FEATURES[late[0]].history}; "
            "give the days before them too."
        )
    mask = usable(market, _members(scorer)[0].config.data.min_price)
    made = {name: values for name, values in make_features(market, mask) if name in scorer.feature_names}
    missing = [name for name in scorer.feature_names if name not in made]
    if missing:
        raise InputError(
            f"{market.name} cannot give {', '.join(missing)}, which the model was trained with; give the columns of "
            "the training data (date, symbol, the bars, the sector where there was one, ready features as numbers)."
        )
    D, S = mask.shape
    unknown = np.full((D, S, len(scorer.horizons)), np.nan, dtype=np.float32)
    return Panel(
        dates=market.dates,
        symbols=market.symbols,
        feature_names=scorer.feature_names,
        features=np.stack([made[name] for name in scorer.feature_names], axis=2),
        mask=mask,
        targets=dict.fromkeys(TARGETS, unknown),
        horizons=scorer.horizons,
        sectors=market.sectors,
        sector_names=market.sector_names,
        returns=daily_returns(market),
        oracle=None,
    )


def _members(scorer: Scorer | Committee) -> list[Scorer]:
    return list(scorer.members.values()) if isinstance(scorer, Committee) else [scorer]


def _look_back(scorer: Scorer) -> int:
    """Trading days before a scored one that its score may look at: the window's, and of the first of them the
    features' and the graph's."""
    histories = [FEATURES[name].history for name in scorer.feature_names if name in FEATURES]
    if scorer.config.model.num_neighbours:
        histories.append(LOOKBACK + REFRESH_DAYS)
    return scorer.config.model.window - 1 + max(histories, default=1) - 1
