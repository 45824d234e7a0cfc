"""Settings of the panel: its source, its labels, its split into train, validation and holdout."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainer.config.section import NonNegative, Section


class SplitConfig(Section):
    """Where train ends and holdout begins, as positions on the panel's calendar.

    A gap of look-back + longest horizon + embargo trading days is cut off the end of train and of validation.
    Dates, where given, win over fractions.
    """

    train_start: date | None = None
    """First training day; None: the first day of the panel (earlier days serve as warm-up for features)."""
    train_end: date | None = None
    """Last day before the validation window (the gap is cut from before it)."""
    valid_end: date | None = None
    """Last day before the holdout window."""
    train_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    """Share of days up to the validation window, where no date is given."""
    valid_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of days in the validation window(s), where no date is given."""
    embargo_days: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Extra trading days in every gap."""
    num_folds: Annotated[int, Field(ge=1, le=20)] = 1
    """Walk-forward folds; the validation window is divided into this many, each trained on what precedes it."""
    scheme: Literal["expanding", "rolling"] = "expanding"
    """Whether later folds keep the early training days."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_end is None and self.train_end is None and self.train_fraction + self.valid_fraction >= 1:
            raise ValueError(
                f"data.split: train_fraction={self.train_fraction:g} and valid_fraction={self.valid_fraction:g} leave "
                "nothing for the holdout; make them add up to less than 1"
            )
        days = [day for day in (self.train_start, self.train_end, self.valid_end) if day is not None]
        if any(later <= earlier for earlier, later in pairwise(days)):
            raise ValueError(
                "data.split: train_start, train_end and valid_end must follow one another; put them in order"
            )
        return self


class ColumnsConfig(Section):
    """Which column of a file is taken for what, where its name alone does not say it; None: found by its name."""

    date: str | None = None
    """The day, in any form that pandas reads."""
    symbol: str | None = None
    """The stock's name."""
    open: str | None = None
    """First price of the day."""
    high: str | None = None
    """Highest price of the day."""
    low: str | None = None
    """Lowest price of the day."""
    close: str | None = None
    """Last price of the day."""
    volume: str | None = None
    """Shares traded on the day."""
    adj_open: str | None = None
    """Adjusted for splits and dividends, like the next four; with `adj_close` alone the other bars are scaled by its
    ratio to `close`."""
    adj_high: str | None = None
    """The adjusted highest price."""
    adj_low: str | None = None
    """The adjusted lowest price."""
    adj_close: str | None = None
    """The adjusted last price."""
    adj_volume: str | None = None
    """The adjusted volume."""
    turnover: str | None = None
    """Traded value of the day."""
    sector: str | None = None
    """The stock's sector or industry on the day."""
    universe: str | None = None
    """Whether the stock belongs to the universe on the day (true or false, 1 or 0, or the name of an index, empty
    outside it): outside it is neither ranked nor learnt from, but its history counts."""
    delisting_return: str | None = None
    """Return from the last close to what was paid after a delisting, on the stock's last row."""


class DataConfig(Section):
    """Which panel, which labels."""

    source: str = "planted:realistic"
    """`planted:clean|realistic|null`, with `?seed=3&stocks=200&days=900&sectors=8` as far as wanted; or the path of a
    Parquet/CSV file or folder."""
    horizons: tuple[Annotated[int, Field(ge=1, le=250)], ...] = (1, 5, 10, 20)
    """Label horizons in trading days, ascending."""
    target: Literal["raw", "neutral"] = "raw"
    """What the loss is computed on: forward return, or its residual on style ranks and sector."""
    target_transform: Literal["rank", "gauss", "zscore"] = "rank"
    """What a day's targets become before they are learnt, over all labelled stocks of the day: ranks, normal scores of
    the ranks, or z-scores cut off at 3; each of mean 0 and variance 1."""
    target_lag: Literal[0, 1] = 0
    """0: the position is entered at the close of the day; 1: at the next close."""
    min_price: NonNegative = 0.0
    """Stock-days whose close is below this are masked; 0: none. The close before adjustments counts, where the file
    has it: adjusted for later splits, a close chooses stocks by what happens later."""
    membership: str | None = None
    """File with the universe of each day: a row per spell with `symbol`, `from` and `to`, both days included, empty
    where there is no such day. It masks like a `universe` column, and with it."""
    columns: ColumnsConfig = ColumnsConfig()
    trust: tuple[str, ...] = ()
    """Features that are let in although they look like the answer: those that correlate with the labels beyond what is
    credible are refused otherwise."""
    split: SplitConfig = SplitConfig()

    @field_validator("horizons")
    @classmethod
    def _ascending(cls, horizons: tuple[int, ...]) -> tuple[int, ...]:
        if not horizons or any(later <= earlier for earlier, later in pairwise(horizons)):
            raise ValueError("data.horizons must be one or more numbers of days in ascending order, none twice")
        return horizons
