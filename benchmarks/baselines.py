"""The trainer's models beside simple rules and LightGBM on one panel: who ranks better, and is the difference luck?

    python -m benchmarks.baselines data.source=PANEL.parquet data.split.train_end=2020-12-31 \\
        data.split.valid_end=2021-12-31 data.horizons=[1,5] --seeds 3 --scores FOLDER

All see the same features on the same training days. Ridge and LightGBM see the
day's features and fit the day's ranks of the label, one model per horizon; LightGBM with its defaults. The trainer's
models see the look-back window and are the mean of the daily ranks of `--seeds` trainings. What a contender scored is
kept in --scores and not computed again. Printed for validation and holdout, per horizon: mean daily RankIC with its
Newey-West standard error, ICIR and t, on the raw and the style-neutral label, entered at the close and one close later;
then each contender's paired difference to LightGBM on the same holdout days.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import lightgbm
import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hpo.report.statistics.dependence import newey_west_error
from hpo.report.statistics.intervals import information_ratio, paired_interval
from trainer.config import TrainerConfig
from trainer.data.cross_section import rank_normalise
from trainer.data.panel import HoldoutData, Panel, TrainingData
from trainer.data.prepare import open_holdout, open_training, prepare
from trainer.reports import EpochReport, Verdict
from trainer.scoring.scorer import load_scorer
from trainer.training.evaluate import daily_metrics
from trainer.training.labels import target_variant
from trainer.training.loop import fit

Learner = Callable[[NDArray[np.float32], NDArray[np.float32]], Callable[..., object]]
"""Features [N, F] and rank-normalised labels [N] of a horizon -> how to predict from features."""

Scores = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Validation and holdout, each [days, S, H], NaN where a stock is masked."""

REFERENCE = "lightgbm"
LABELS: Mapping[str, str] = {
    "": "raw",
    "lag1_": "raw, one close later",
    "neutral_": "neutral",
    "neutral_lag1_": "neutral, one close later",
}
NETS: Mapping[str, Mapping[str, object]] = {
    "linear": {"optim.lr": 3e-3},
    "mlp": {},
    "gru": {"train.epoch_fraction": 0.25},
    "atft_gat_fan": {},
}
"""The trainer's models, with what is set beside the defaults: a linear model wants a higher rate, and a recurrent one,
which runs every window anew, is given one pass over the data instead of four."""


class Study:
    """One prepared panel and what contenders ask of it."""

    def __init__(self, config: TrainerConfig, cache: Path) -> None:
        self.config = config
        prepared = prepare(config.data, config.model.window, cache)
        self.training: TrainingData = open_training(prepared.search)
        self.holdout: HoldoutData = open_holdout(prepared.holdout)
        self.windows: tuple[tuple[Panel, range], ...] = (
            (self.training.panel, self.training.folds[-1].valid),
            (self.holdout.panel, self.holdout.days),
        )

    def by_rule(self, rule: Callable[[Panel, range], NDArray[np.float32]]) -> Scores:
        """Scores [days, S] of a rule, the same for all horizons."""
        valid, holdout = (
            np.repeat(np.where(_rows(panel.mask, days), rule(panel, days), np.nan)[..., None], len(panel.horizons), -1)
            for panel, days in self.windows
        )
        return valid.astype(np.float32), holdout.astype(np.float32)

    def by_regression(self, learn: Learner) -> Scores:
        """One regression per horizon."""
        panel, days = self.training.panel, self.training.folds[-1].train
        features, mask = _rows(panel.features, days), _rows(panel.mask, days)
        predictors = []
        for column in range(len(panel.horizons)):
            label = _rows(panel.targets[target_variant(self.config.data)], days)[..., column]
            known = mask & np.isfinite(label)
            ranks = rank_normalise(label.astype(np.float64), known)
            predictors.append(learn(features[known], ranks[known]))

        def score(panel: Panel, days: range) -> NDArray[np.float32]:
            seen, visible = _rows(panel.features, days), _rows(panel.mask, days)
            scores = np.full((*visible.shape, len(predictors)), np.nan, dtype=np.float32)
            for column, predict in enumerate(predictors):
                scores[visible, column] = predict(seen[visible])
            return scores

        valid, holdout = (score(panel, days) for panel, days in self.windows)
        return valid, holdout

    def by_training(self, kind: str, seed: int) -> Scores:
        """One training of a model of the trainer."""
        settings = OmegaConf.create(self.config.model_dump(mode="json"))
        for name, value in {"model.kind": kind, "train.seed": seed, **NETS[kind]}.items():
            OmegaConf.update(settings, name, value)
        config = TrainerConfig.model_validate(OmegaConf.to_container(settings))
        with tempfile.TemporaryDirectory() as folder:
            fit(config, self.training, _Silent(), Path(folder))
            scorer = load_scorer(Path(folder) / "model.pt")
        valid, holdout = (scorer.score(panel, days) for panel, days in self.windows)
        return valid, holdout


class _Silent:
    def report(self, report: EpochReport) -> Verdict:
        return Verdict.CONTINUE

    def poll(self) -> Verdict:
        return Verdict.CONTINUE


def reversal(days_back: int) -> Callable[[Panel, range], NDArray[np.float32]]:
    """Minus the return of the last days."""

    def rule(panel: Panel, days: range) -> NDArray[np.float32]:
        column = panel.feature_names.index(f"return_{days_back}d")
        return -_rows(panel.features, days)[..., column]

    return rule


def ridge(features: NDArray[np.float32], labels: NDArray[np.float32]) -> Callable[..., object]:
    """Least squares with a penalty of a thousandth of the number of samples."""
    x, y = features.astype(np.float64), labels.astype(np.float64)
    weights = np.linalg.solve(x.T @ x + 1e-3 * len(x) * np.eye(x.shape[1]), x.T @ y)
    return lambda seen: seen @ weights


def boosted_trees(features: NDArray[np.float32], labels: NDArray[np.float32]) -> Callable[..., object]:
    """LightGBM's regressor with its defaults."""
    model = lightgbm.LGBMRegressor(n_jobs=1, verbosity=-1, random_state=0)
    return model.fit(features, labels).predict


def contenders(study: Study, seeds: int) -> Iterator[tuple[str, list[Callable[[], Scores]]]]:
    """Name and what to compute, once per seed where chance plays a part."""
    yield "reversal 1 day", [lambda: study.by_rule(reversal(1))]
    yield "reversal 5 days", [lambda: study.by_rule(reversal(5))]
    yield "ridge", [lambda: study.by_regression(ridge)]
    yield REFERENCE, [lambda: study.by_regression(boosted_trees)]
    for kind in NETS:
        yield kind, [partial(study.by_training, kind, seed) for seed in range(seeds)]


def remembered(path: Path, compute: Callable[[], Scores]) -> Scores:
    """What lies at `path`, else what is computed now, and laid there."""
    if not path.exists():
        started = time.perf_counter()
        valid, holdout = compute()
        np.savez(path.with_suffix(".part.npz"), valid=valid, holdout=holdout)
        path.with_suffix(".part.npz").rename(path)
        print(f"# {path.stem}: {time.perf_counter() - started:.0f} s", flush=True)
    kept = np.load(path)
    return kept["valid"], kept["holdout"]


def together(seeds: list[Scores]) -> Scores:
    """The mean of the daily ranks of several trainings."""
    if len(seeds) == 1:
        return seeds[0]
    windows = zip(*seeds, strict=True)
    valid, holdout = (np.mean([_daily_ranks(scores) for scores in window], axis=0) for window in windows)
    return valid, holdout


def _daily_ranks(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    ranked = [rank_normalise(scores[..., column].astype(np.float64), known) for column, known in _columns(scores)]
    return np.where(np.isfinite(scores), np.stack(ranked, axis=-1), np.nan).astype(np.float32)


def _columns(scores: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    for column in range(scores.shape[-1]):
        yield column, np.isfinite(scores[..., column])


def _rows(array: NDArray, days: range) -> NDArray:  # type: ignore[type-arg]
    return np.array(array[days.start : days.stop])


def show(study: Study, found: Mapping[str, list[Scores]]) -> None:
    """The tables."""
    daily = {name: [_daily(study, scores) for scores in [together(seeds), *seeds]] for name, seeds in found.items()}
    for horizon in study.training.panel.horizons:
        key = f"rank_ic_{horizon}d"
        for window, title in enumerate(("validation", "holdout")):
            print(f"\n{horizon} day{'s' * (horizon > 1)}, {title}: RankIC ± standard error (ICIR, t)")
            print("| | " + " | ".join(LABELS.values()) + " | single seeds |\n" + "| --- " * (len(LABELS) + 2) + "|")
            for name, series in daily.items():
                mean_of_seeds, *alone = (each[window] for each in series)
                cells = [_cell(mean_of_seeds[prefix + key], horizon) for prefix in LABELS]
                singles = ", ".join(f"{np.nanmean(single[key]):.4f}" for single in alone) if len(alone) > 1 else ""
                print(f"| {name} | {' | '.join(cells)} | {singles} |")
        print(f"\n{horizon} day{'s' * (horizon > 1)}, holdout: less {REFERENCE} on the same days (95 % interval)")
        for name, series in daily.items():
            paired = paired_interval(series[0][1][key], daily[REFERENCE][0][1][key], horizon)
            if name != REFERENCE and paired is not None:
                print(f"  {name:16s} {paired.estimate:+.4f} ({paired.low:+.4f} to {paired.high:+.4f})")


def _daily(study: Study, scores: Scores) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    valid, holdout = (
        daily_metrics(window, panel, days) for window, (panel, days) in zip(scores, study.windows, strict=True)
    )
    return valid, holdout


def _cell(series: NDArray[np.float32], horizon: int) -> str:
    mean, error = float(np.nanmean(series)), newey_west_error(series, horizon)
    return f"{mean:.4f} ± {error:.4f} ({information_ratio(series):.2f}, {mean / error:.1f})"


def main() -> None:
    """Fit what is not yet fitted, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE", help="settings of the trainer; data.source first")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="contenders by name; the others only if their scores are kept")
    parser.add_argument("--scores", type=Path, required=True, help="folder the scores are kept in")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "tiertune")
    options = parser.parse_args()
    options.scores.mkdir(parents=True, exist_ok=True)
    config = TrainerConfig.model_validate(OmegaConf.to_container(OmegaConf.from_dotlist(options.settings)))
    study = Study(config, options.cache)
    found: dict[str, list[Scores]] = {}
    for name, runs in contenders(study, options.seeds):
        paths = [options.scores / f"{name.replace(' ', '_')}-{seed}.npz" for seed in range(len(runs))]
        if options.only is None or name in options.only or all(path.exists() for path in paths):
            found[name] = [remembered(path, run) for path, run in zip(paths, runs, strict=True)]
    show(study, found)


if __name__ == "__main__":
    main()
