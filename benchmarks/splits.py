"""Campaigns on sliding splits: markets cut into windows, one campaign of the product on each, all its trials scored."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.baselines import Study, boosted_trees, ridge
from hpo.cli.config_loader import load
from hpo.domain.campaign import Campaign
from hpo.domain.config import SearchConfig
from hpo.report.collect import mean_daily
from hpo.usecases.campaigns import decide_rest, open_campaign, prepare_data, trainable_of
from hpo.usecases.fingerprints import code_fingerprint
from hpo.wiring import App, build_worker
from trainer.config import TrainerConfig
from trainer.data import open_holdout
from trainer.scoring.ranks import rank_shares
from trainer.scoring.scorer import load_scorer

COMMON: Mapping[str, Any] = {"space": "quickstart", "trainer.data.horizons": "[1,5]", "trainer.train.threads": 1}
"""What every campaign is given."""

WARM_UP, TRAIN, VALID, HOLDOUT, STEP = 126, 504, 189, 126, 126
"""Trading days: before the first training day, of each window, and from one split to the next."""


@dataclass(frozen=True)
class Job:
    """One campaign. market: the row it belongs to; split: the window's number, or the planted market's seed."""

    market: str
    split: int
    seed: int
    source: str
    settings: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.market}-{self.split}-{self.seed}"


def real_jobs(panel: Path, folder: Path, num_splits: int, num_seeds: int) -> Iterator[Job]:
    """The last num_splits windows of a panel, each a file of its own in folder that ends with its holdout."""
    rows = pd.read_parquet(panel)
    dates = np.sort(rows["date"].unique())
    length = WARM_UP + TRAIN + VALID + HOLDOUT
    last = (len(dates) - length) // STEP
    for split in range(last, max(last - num_splits, -1), -1):
        days = dates[split * STEP : split * STEP + length]
        cut = folder / f"{panel.stem}-{split}.parquet"
        if not cut.exists():
            rows[rows["date"].between(days[0], days[-1])].to_parquet(cut, index=False)
        ends = {"train_start": WARM_UP, "train_end": WARM_UP + TRAIN - 1, "valid_end": WARM_UP + TRAIN + VALID - 1}
        settings = {f"trainer.data.split.{name}": str(days[at])[:10] for name, at in ends.items()}
        for seed in range(num_seeds):
            yield Job(panel.stem, split, seed, str(cut), settings)


def planted_jobs(difficulty: str, num_markets: int) -> Iterator[Job]:
    """Small planted markets of one difficulty, one campaign on each."""
    for seed in range(num_markets):
        yield Job(f"planted-{difficulty}", seed, 0, f"planted:{difficulty}?seed={seed}&stocks=80&days=700", {})


def search(app: App, job: Job, num_trials: int, num_epochs: int) -> dict[str, NDArray[Any]]:
    """Run the campaign without its conclusion, and score every trial and the contenders on the holdout.

    Returns:
        by trial [T]: `slot`, `outcome`, `score`, `epochs`, `valid` [T, V] (the objective's daily series), `ranks`
        float16 [T, D, S, H] (daily ranks on the holdout, as shares); `champion`, the single champion's slot;
        `lightgbm`, `ridge` [D, S, H]; `target` [D, S, H]; `dates` [D].
    """
    chosen = {"study": job.name, "trials": num_trials, "seed": job.seed, "trainer.train.epochs": num_epochs}
    overrides = [f"{name}={value}" for name, value in {**COMMON, **chosen, **job.settings}.items()]
    config, space = load(overrides, data=job.source)
    prepared = prepare_data(app.records.cache, config)
    assert prepared.holdout is not None, "the ranker has one"
    trainable, settings = trainable_of(config)
    campaign = open_campaign(app.ledger, config, space, prepared)
    code = code_fingerprint(trainable, settings)
    build_worker(app.records, app.storage, campaign, config, space, prepared.search, code, threading.Event()).run()
    campaign = decide_rest(app.stores, app.records.find(job.name), config, space)
    study = Study(TrainerConfig.model_validate(config.trainer), app.home / "cache")
    contenders = {"lightgbm": study.by_regression(boosted_trees)[1], "ridge": study.by_regression(ridge)[1]}
    ranks = {name: rank_shares(scores).astype(np.float16) for name, scores in contenders.items()}
    return {**_scored(app, campaign, config, prepared.holdout), **ranks}


def _scored(app: App, campaign: Campaign, config: SearchConfig, holdout: Path) -> dict[str, Any]:
    """Every trial that has a checkpoint."""
    data, archive = open_holdout(holdout), app.records.archive(campaign)
    trainable, settings = trainable_of(config)
    num_score_epochs = trainable.length(settings).score_epochs
    found: dict[str, list[Any]] = {name: [] for name in ("slot", "outcome", "score", "epochs", "ranks", "valid")}
    for view in app.ledger.slots(campaign.id):
        attempt = archive.attempt(view.slot)
        if attempt is None or not archive.is_kept(view.slot):
            continue
        epochs = [record.epoch for record in attempt.epochs()]
        scores = load_scorer(archive.model(view.slot)).score(data.panel, data.days)
        daily = mean_daily(attempt, epochs[-num_score_epochs:], trainable)
        values = (view.slot, str(view.outcome), view.score, len(epochs), rank_shares(scores), daily[config.objective])
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    rows = slice(data.days.start, data.days.stop)
    return {
        **{name: np.array(values) for name, values in found.items()},
        "ranks": np.array(found["ranks"], dtype=np.float16),
        "champion": np.array(campaign.decisions[len(campaign.spec.tiers)]["slot"]),
        "target": np.array(data.panel.targets["raw"][rows]),
        "dates": np.array(data.panel.dates[rows]),
    }
