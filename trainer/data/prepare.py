"""From a source to the two folders a search works with: one for its trials, one that only the holdout is read from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config import DataConfig
from trainer.data import cache, planted
from trainer.data.checking.bars import check_bars
from trainer.data.checking.calendar import check_calendar, filled_in
from trainer.data.checking.leaks import Answers, suspicious_names
from trainer.data.checking.values import check_coverage, check_targets, check_values, gaps
from trainer.data.features import RECIPE, feature_names, make_features, too_long, usable
from trainer.data.market import Market
from trainer.data.panel import Fold, HoldoutData, TrainingData
from trainer.data.reading import Rows, files_of, keep_table, load, restrict
from trainer.data.splits import Split, plan_split
from trainer.data.summary import describe
from trainer.data.targets import daily_returns, make_targets
from trainer.errors import InputError

Progress = Callable[[str, float], None]

CONTEXT_DAYS = 252
"""Days before the holdout that its folder repeats, for look-back of any length a model may have."""


@dataclass(frozen=True)
class Prepared:
    """Where a prepared panel lies.

    search, holdout: folders for `open_training` and `open_holdout`. fingerprint: hex digest of the content and of
    every option that shapes the arrays. warnings: sentences for people. summary: sizes and dates, plain JSON values.
    """

    search: Path
    holdout: Path
    fingerprint: str
    warnings: tuple[str, ...]
    summary: dict[str, Any]


def prepare(
    config: DataConfig, window: int, cache_folder: Path, progress: Progress | None = None, rows: Rows | None = None
) -> Prepared:
    """Build the arrays of a source, or find them built.

    window: look-back in trading days, part of the gaps. rows: a pandas frame or Arrow table in place of
    `config.source`, kept below the cache. progress is called with a stage and a share from 0 to 1.
    Several processes may call at once; one builds. What is found damaged is built again, with a warning that says so.
    Raises InputError where the source is refused.
    """
    if rows is not None:
        config = config.model_copy(update={"source": str(keep_table(rows, cache_folder / "tables"))})
    fingerprint = _fingerprint(config, window, cache_folder)
    folder = panel_folder(cache_folder, fingerprint)
    said: tuple[str, ...] = ()
    with cache.locked(cache_folder / f"{folder.name}.lock"):
        problems = cache.verify(folder)
        if problems:
            if folder.exists():
                said = (f"the prepared panel was built again: {problems[0]}",)
            _build(config, window, folder, progress or _silent)
        meta = cache.read_sealed(folder / cache.META)
    warnings = (*said, *meta["warnings"])
    return Prepared(folder / "search", folder / "holdout", fingerprint, warnings, meta["summary"])


def panel_folder(cache_folder: Path, fingerprint: str) -> Path:
    """Where the panel of this fingerprint lies once it is prepared."""
    return cache_folder / fingerprint[:16]


def open_training(search: Path) -> TrainingData:
    """The panel up to the holdout, and its folds. Raises CacheFault where it is damaged or gone."""
    panel, meta = cache.open_panel(search)
    folds = tuple(Fold(train=range(*fold["train"]), valid=range(*fold["valid"])) for fold in meta["folds"])
    return TrainingData(panel, folds)


def open_holdout(holdout: Path) -> HoldoutData:
    """The holdout days with the days before them as context. Raises CacheFault as `open_training`."""
    panel, meta = cache.open_panel(holdout)
    return HoldoutData(panel, range(*meta["days"]))


def _silent(stage: str, share: float) -> None:
    """Nobody listens."""


def _fingerprint(config: DataConfig, window: int, cache_folder: Path) -> str:
    if config.source.startswith(planted.PREFIX):
        content = repr(planted.parse(config.source))
    else:
        content = cache.digest(files_of(config.source), cache_folder)
    if config.membership is not None:
        content += cache.digest(files_of(config.membership, "data.membership"), cache_folder)
    options = config.model_dump(mode="json", include={"horizons", "min_price", "split", "columns", "trust"})
    recipe = {"recipe": RECIPE, "content": content, "window": window, **options}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _read(config: DataConfig) -> Market:
    if config.source.startswith(planted.PREFIX):
        market = planted.generate(config.source, config.horizons)
    else:
        market = load(config.source, config.columns)
    return market if config.membership is None else restrict(market, config.membership)


def _build(config: DataConfig, window: int, folder: Path, progress: Progress) -> None:
    progress("reading", 0.0)
    market = _read(config)
    split = plan_split(market.dates, config.split, window, config.horizons)
    progress("checking", 0.05)
    check_values(market)
    said = (*_calendar(market, config), *check_bars(market))
    check_targets(market)
    mask = usable(market, config.min_price)
    check_coverage(market, mask, range(split.folds[0].train.start, len(market.dates)))
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    for left in (folder, *folder.parent.glob(f"{folder.name}.*.tmp")):  # damaged, or of a build that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        halves = _halves(temporary, split, len(market.dates))
        names, accused = _write_features(market, mask, config, split, halves, progress)
        progress("labels", 0.9)
        _write_labels(market, mask, config, halves)
        summary = describe(market, mask, names, config, split)
        _write_meta(market, names, config, split, halves)
        warnings = (*market.warnings, *said, *gaps(market, config.min_price), *_late(market), *accused)
        cache.seal(temporary, {"warnings": warnings, "summary": summary})
        cache.move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    progress("ready", 1.0)


def _calendar(market: Market, config: DataConfig) -> tuple[str, ...]:
    """Warnings of a source from outside: a planted market's days are what they should be."""
    if config.source.startswith(planted.PREFIX):
        return ()
    return (*check_calendar(market), *filled_in(market))


def _late(market: Market) -> tuple[str, ...]:
    late = too_long(market)
    return (f"the panel's {len(market.dates)} days are too few for {', '.join(late)}.",) if late else ()


def _halves(folder: Path, split: Split, days: int) -> Mapping[Path, range]:
    """The two folders, made, each with its positions on the whole calendar."""
    first = split.holdout.start
    halves = {folder / "search": range(first), folder / "holdout": range(max(0, first - CONTEXT_DAYS), days)}
    for half in halves:
        half.mkdir(parents=True)
    return halves


def _write_features(
    market: Market,
    mask: NDArray[np.bool_],
    config: DataConfig,
    split: Split,
    halves: Mapping[Path, range],
    progress: Progress,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The features' names in order, and warnings. Constant ones are left out.

    Raises InputError where a feature contains the answer, or none is left.
    """
    names = feature_names(market)
    stores = {
        half: cache.create(half, "features", (len(days), len(market.symbols), len(names)))
        for half, days in halves.items()
    }
    answers = _answers(market, mask, config, split)
    close = market.read("close") if "close" in market.columns else None
    warnings = [*suspicious_names(market.ready, config.trust)]
    constant = []
    for number, (name, values) in enumerate(make_features(market, mask)):
        progress(f"feature {name}", 0.1 + 0.8 * number / len(names))
        if not values.any():
            constant.append(name)
        elif answers is not None:
            found = [answers.judge(name, values)]
            if name in market.ready:  # a strong feature of the recipe may be real; too strong a one is refused
                found.append(answers.judge_hidden(name, market.read(name), close, mask))
                warnings += list(filter(None, found))[:1]
        for half, days in halves.items():
            stores[half][:, :, names.index(name)] = values[days.start : days.stop]
    kept = tuple(name for name in names if name not in constant)
    if constant:
        if not kept:
            raise InputError(f"{market.name}: every feature is the same for all stocks of every day; give others.")
        for half, store in stores.items():
            cache.save(half, "features", store[:, :, [names.index(name) for name in kept]])
        warnings.append(
            f"{', '.join(name for name in names if name in constant)}: left out, being constant (the same for all "
            "stocks of every day)."
        )
    return kept, tuple(warnings)


def _answers(market: Market, mask: NDArray[np.bool_], config: DataConfig, split: Split) -> Answers | None:
    """None for a planted market, whose features are what they should be."""
    if config.source.startswith(planted.PREFIX):
        return None
    days = range(split.folds[0].train.start, split.folds[-1].train.stop)
    return Answers(market, mask, days, config.horizons, config.trust)


def _write_labels(market: Market, mask: NDArray[np.bool_], config: DataConfig, halves: Mapping[Path, range]) -> None:
    targets = make_targets(market, mask, config.horizons)
    returns = daily_returns(market)
    for half, days in halves.items():
        rows = slice(days.start, days.stop)
        for name, values in targets.items():
            part = values[rows].copy()
            for column, horizon in enumerate(config.horizons):
                # A label ends `reach` days later and must end inside this half.
                reach = horizon + ("lag1" in name)
                part[max(0, len(days) - reach) :, :, column] = np.nan
            cache.save(half, f"target_{name}", part)
        cache.save(half, "mask", mask[rows])
        cache.save(half, "returns", returns[rows])
        cache.save(half, "sectors", market.sectors[rows])
        if market.oracle is not None:
            cache.save(half, "oracle", market.oracle[rows])


def _write_meta(
    market: Market, names: Sequence[str], config: DataConfig, split: Split, halves: Mapping[Path, range]
) -> None:
    common = {
        "symbols": market.symbols,
        "feature_names": names,
        "horizons": config.horizons,
        "sector_names": market.sector_names,
        "oracle": market.oracle is not None,
    }
    folds = [
        {"train": [fold.train.start, fold.train.stop], "valid": [fold.valid.start, fold.valid.stop]}
        for fold in split.folds
    ]
    for half, days in halves.items():
        own = {"folds": folds} if half.name == "search" else {"days": [split.holdout.start - days.start, len(days)]}
        dates = [str(day) for day in market.dates[days.start : days.stop]]
        cache.seal(half, {**common, **own, "dates": dates})
