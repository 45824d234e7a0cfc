"""Which validation score puts trials into the order that they have on the holdout?

    python -m benchmarks.objectives --out FOLDER

Reads the campaigns that `python -m benchmarks.committee --out FOLDER` has run, and trains nothing. A row per score: of
the raw labels, of style-neutral ones, or of raw ones a day later; of the mean over horizons, of one horizon, or
weighted like the loss (1 / sqrt(h)); of the last three epochs or of all but the first. Columns: Spearman's correlation
with the holdout RankIC (mean over horizons) over the trials of a campaign, mean over the campaigns with its standard
error, and the holdout RankIC, in 1e-4, of the trial that the score puts first. The trials were pruned on the raw score,
which favours it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.committee import Measured
from hpo.report.collect import mean_daily
from hpo.usecases.campaigns import frozen_config, trainable_of
from hpo.wiring import App, open_app

Series = NDArray[np.float64]
Daily = Mapping[str, NDArray[np.float32]]

TARGETS = {
    "raw": "",
    "style-neutral": "neutral_",
    "a day later": "lag1_",
    "style-neutral, a day later": "neutral_lag1_",
}
HORIZONS: Mapping[str, Mapping[int, float]] = {
    "mean": {1: 1.0, 5: 1.0},
    "1 day": {1: 1.0},
    "5 days": {5: 1.0},
    "weighted like the loss": {1: 1.0, 5: 5**-0.5},
}
EPOCHS: Mapping[str, Callable[[list[int]], list[int]]] = {
    "last three": lambda epochs: epochs[-3:],
    "all but the first": lambda epochs: epochs[1:] or epochs,
}


def score(daily: Daily, target: str, weights: Mapping[int, float]) -> float:
    """A validation score: the weighted mean over horizons of the mean daily RankIC."""
    parts = [float(np.nanmean(daily[f"{target}rank_ic_{horizon}d"])) for horizon in weights]
    return float(np.average(parts, weights=list(weights.values())))


def scores(app: App, name: str, slots: list[int]) -> dict[tuple[str, str, str], Series]:
    """Every score of the trials of one campaign, [T] each."""
    campaign = app.records.find(name)
    trainable, _ = trainable_of(frozen_config(campaign)[0])
    archive = app.records.archive(campaign)
    found: dict[tuple[str, str, str], list[float]] = {}
    for slot in slots:
        attempt = archive.attempt(slot)
        assert attempt is not None, "its holdout scores are there"
        epochs = [record.epoch for record in attempt.epochs()]
        for which, choose in EPOCHS.items():
            daily = mean_daily(attempt, choose(epochs), trainable)
            for target, prefix in TARGETS.items():
                for horizon, weights in HORIZONS.items():
                    found.setdefault((target, horizon, which), []).append(score(daily, prefix, weights))
    return {key: np.array(values) for key, values in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    orders: dict[tuple[str, str, str], list[float]] = {}
    picks: dict[tuple[str, str, str], list[float]] = {}
    with open_app(out / "home") as app:
        paths = sorted(out.glob("*.npz"))
        for path in paths:
            measured = Measured(path)
            slots = list(measured.position)
            holdout = np.array([np.nanmean(measured.series((slot,))) for slot in slots])
            for key, values in scores(app, path.stem, slots).items():
                orders.setdefault(key, []).append(float(spearmanr(values, holdout).statistic))
                picks.setdefault(key, []).append(float(holdout[np.argmax(values)]))
    print(f"{len(paths)} campaigns\n\n| labels | horizons | epochs | order | holdout of the first |")
    print("| --- | --- | --- | --- | --- |")
    for key, found in orders.items():
        error = np.std(found, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
        print(f"| {' | '.join(key)} | {np.mean(found):+.2f} ± {error:.2f} | {np.mean(picks[key]) * 1e4:.0f} |")


if __name__ == "__main__":
    main()
