"""Where train, validation and holdout lie on the global calendar, with gaps that no label or look-back crosses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray

from trainer.config import SplitConfig
from trainer.data.panel import Fold
from trainer.errors import InputError

MIN_TRAIN = 20
MIN_VALID = 10
MIN_HOLDOUT = 10
"""Fewest scored days of a fold's train and validation, and of the holdout."""


@dataclass(frozen=True)
class Split:
    """Positions of scored days. gap: trading days cut off before each validation part and before the holdout."""

    folds: tuple[Fold, ...]
    holdout: range
    gap: int


def plan_split(dates: NDArray[np.datetime64], config: SplitConfig, window: int, horizons: tuple[int, ...]) -> Split:
    """The split of a calendar.

    The gap of window + longest horizon + embargo trading days is just enough that even a label entered at the
    next close ends before the first day any look-back of the next window reaches.
    Raises InputError where a window is left too short, saying how many days it would take.
    """
    gap = window + max(horizons) + config.embargo_days
    start = 0 if config.train_start is None else _first_at(dates, config.train_start)
    valid, holdout = _boundaries(dates, config, start)
    problem = _too_short(start, valid, holdout, len(dates), gap, config.num_folds)
    if problem:
        raise InputError(f"the panel is too short for the split: {problem}; {_remedy(len(dates), config, gap)}.")
    bounds = np.linspace(valid, holdout - gap, config.num_folds + 1).round().astype(int).tolist()
    folds = []
    for first, last in pairwise(bounds):
        dropped = first - valid if config.scheme == "rolling" else 0
        folds.append(Fold(train=range(start + dropped, first - gap), valid=range(first, last)))
    return Split(tuple(folds), range(holdout, len(dates)), gap)


def _boundaries(dates: NDArray[np.datetime64], config: SplitConfig, start: int) -> tuple[int, int]:
    """First position of the validation window and of the holdout."""
    total = len(dates) - start
    if config.train_end is not None:
        valid = _first_after(dates, config.train_end, "train_end")
    else:
        valid = start + round(config.train_fraction * total)
    if config.valid_end is not None:
        return valid, _first_after(dates, config.valid_end, "valid_end")
    return valid, min(len(dates), valid + round(config.valid_fraction * total))


def _first_at(dates: NDArray[np.datetime64], day: date) -> int:
    if np.datetime64(day) > dates[-1]:
        raise InputError(
            f"data.split.train_start={day} is after the panel's last day {dates[-1]}; choose an earlier day."
        )
    return int(np.searchsorted(dates, np.datetime64(day)))


def _first_after(dates: NDArray[np.datetime64], day: date, field: str) -> int:
    if not dates[0] <= np.datetime64(day) < dates[-1]:
        raise InputError(
            f"data.split.{field}={day} is not inside the panel, which runs from {dates[0]} to {dates[-1]}; "
            "choose a day that leaves some on either side."
        )
    return int(np.searchsorted(dates, np.datetime64(day), side="right"))


def _too_short(start: int, valid: int, holdout: int, days: int, gap: int, folds: int) -> str:
    """What is too short, or an empty string."""
    lengths = (
        ("training", valid - gap - start, MIN_TRAIN, f" before a gap of {gap}"),
        ("validation", holdout - gap - valid, MIN_VALID * folds, f" before a gap of {gap}"),
        ("holdout", days - holdout, MIN_HOLDOUT, ""),
    )
    for name, left, least, where in lengths:
        if left < least:
            return f"{max(left, 0)} {name} days are left{where} (trading days) where at least {least} are needed"
    return ""


def _remedy(days: int, config: SplitConfig, gap: int) -> str:
    if config.train_start or config.train_end or config.valid_end:
        return "move data.split's dates apart, or lower model.window, the longest horizon or data.split.embargo_days"
    fraction = 1 - config.train_fraction - config.valid_fraction
    least = max(
        (MIN_TRAIN + gap) / config.train_fraction,
        (MIN_VALID * config.num_folds + gap) / config.valid_fraction,
        MIN_HOLDOUT / fraction,
    )
    for needed in count(math.floor(least)):
        valid = round(config.train_fraction * needed)
        holdout = valid + round(config.valid_fraction * needed)
        if not _too_short(0, valid, holdout, needed, gap, config.num_folds):
            break
    return f"it has {days} days and needs {needed} (or a shorter model.window, longest horizon or embargo)"
