"""Made-up campaigns: daily series with a known truth, and everything else a report reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.domain.campaign import Outcome
from hpo.domain.champion import Member
from hpo.ranking.metrics import metrics_of as ranker_metrics
from hpo.ranking.portfolio import PanelScores
from hpo.ranking.ranker import Ranker
from hpo.report import (
    CampaignEvidence,
    EpochEvidence,
    HoldoutEvidence,
    TierEvidence,
    TrialEvidence,
)

HORIZONS = (1, 5)
TIERS = {
    "capacity": ("optim.lr", "model.hidden_size"),
    "regularisation": ("model.dropout", "model.num_layers"),
    "refinement": ("optim.lr", "model.hidden_size", "model.dropout", "model.num_layers"),
}
BEGIN = datetime(2025, 3, 1, 9, 0, tzinfo=UTC)


def overlapping_noise(rng: np.random.Generator, num_days: int, num_series: int, horizon: int) -> NDArray[np.float64]:
    """Unit-variance noise [D, N] that is a moving sum over `horizon` days, as overlapping labels make it."""
    steps = rng.standard_normal((num_days + horizon - 1, num_series))
    sums = np.concatenate([np.zeros((1, num_series)), np.cumsum(steps, axis=0)])
    return (sums[horizon:] - sums[:-horizon]) / np.sqrt(horizon)


def correlated_trials(
    rng: np.random.Generator,
    num_days: int,
    means: NDArray[np.float64],
    correlation: float,
    horizon: int = 1,
    spread: float = 0.1,
) -> NDArray[np.float64]:
    """Daily RankIC of trials [D, N]: true means plus noise with one correlation between any two of them."""
    common = overlapping_noise(rng, num_days, 1, horizon)
    own = overlapping_noise(rng, num_days, len(means), horizon)
    return means + spread * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)


def metrics_of(series: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """All metric variants of one trial from its mean series [D]."""
    daily = {}
    for prefix, share in (("", 1.0), ("neutral_", 0.8), ("lag1_", 0.6), ("neutral_lag1_", 0.5)):
        daily[f"{prefix}rank_ic"] = (share * series).astype(np.float32)
        for horizon in HORIZONS:
            daily[f"{prefix}rank_ic_{horizon}d"] = (share * series * (1 + 0.1 * horizon)).astype(np.float32)
    return daily


def settings_of(rng: np.random.Generator, slot: int) -> dict[str, float | int | str]:
    return {
        "optim.lr": 1e-3 if slot == 1 else float(10 ** rng.uniform(-4, -2)),
        "model.hidden_size": 32 if slot == 1 else int(rng.choice([16, 32, 64])),
        "model.dropout": 0.1 if slot == 1 else float(rng.uniform(0, 0.4)),
        "model.num_layers": 2 if slot == 1 else int(rng.integers(1, 4)),
        "optim.schedule": "cosine" if slot % 3 else "constant",
    }


def make_trial(
    rng: np.random.Generator, slot: int, num_trials: int, series: NDArray[np.float64], outcome: Outcome
) -> TrialEvidence:
    tier = 1 + min(2, 3 * (slot - 1) // num_trials)
    settings = settings_of(rng, slot)
    score = float(series.mean())
    planned = 12
    length = planned if outcome is Outcome.COMPLETE else int(rng.integers(3, 9))
    begin = BEGIN + timedelta(seconds=30 * (slot // 2))
    curve = score * (1 - np.exp(-np.arange(1, length + 1) / 3)) + 0.003 * rng.standard_normal(length)
    failed = outcome is Outcome.FAILED
    return TrialEvidence(
        slot=slot,
        tier=tier,
        outcome=outcome,
        trial_number=slot - 1,
        params={name: settings[name] for name in list(TIERS.values())[tier - 1]},
        settings=settings,
        score=None if failed else score,
        epochs=[
            EpochEvidence(n, float(value), 2.0, begin + timedelta(seconds=2 * n)) for n, value in enumerate(curve, 1)
        ],
        planned_epochs=planned,
        daily={} if failed else metrics_of(series),
        last_epoch=None if failed else length,
        num_parameters=12_345,
        reason="out_of_memory: the device has 8 GiB" if failed else None,
        worker=f"host/{100 + slot % 2}",
        started_at=begin,
        finished_at=begin + timedelta(seconds=2 * length),
        trainer_seed=slot,
        folder=f"made-up/slot-{slot:04d}/attempt-1",
    )


def make_panel_scores(rng: np.random.Generator, dates: NDArray[np.datetime64], signal: float) -> PanelScores:
    """Scores that predict the next day's return of 60 stocks with the given strength."""
    shape = (len(dates), 60)
    scores = rng.standard_normal(shape)
    returns = np.zeros(shape)
    returns[1:] = 0.01 * (signal * scores[:-1] + rng.standard_normal((len(dates) - 1, 60)))
    ahead = np.full((*shape, len(HORIZONS)), np.nan)
    for position, horizon in enumerate(HORIZONS):
        sums = np.concatenate([np.zeros((1, 60)), np.cumsum(returns, axis=0)])
        ahead[: len(dates) - horizon, :, position] = sums[horizon + 1 :] - sums[1 : len(dates) - horizon + 1]
    return PanelScores(
        dates=dates,
        horizons=HORIZONS,
        scores=np.repeat(scores[:, :, None], len(HORIZONS), axis=2).astype(np.float32),
        targets={"raw": ahead.astype(np.float32)},
        returns=returns.astype(np.float32),
        sectors=np.tile(np.arange(60) % 3, (len(dates), 1)).astype(np.int16),
        sector_names=("Energy", "Financials", "Information Technology"),
    )


def make_campaign(
    seed: int = 0, num_trials: int = 20, gain: float = 0.02, level: float = 0.04, num_days: int = 250
) -> CampaignEvidence:
    """A finished campaign whose best trial (the last slot) is truly better than the default by `gain`."""
    rng = np.random.default_rng(seed)
    means = np.full(num_trials, level)
    means[-1] += gain
    valid = correlated_trials(rng, num_days, means, 0.8, spread=0.06)
    held = correlated_trials(rng, num_days, means, 0.8, spread=0.06)
    outcomes = [Outcome.COMPLETE if n % 3 or n == 0 else Outcome.PRUNED for n in range(num_trials)]
    outcomes[-1] = Outcome.COMPLETE
    outcomes[num_trials // 2] = Outcome.FAILED
    trials = [make_trial(rng, n + 1, num_trials, valid[:, n], outcomes[n]) for n in range(num_trials)]
    best = max((t for t in trials if t.outcome is Outcome.COMPLETE), key=lambda t: t.score or 0.0)
    leaders = sorted((t for t in trials if t.outcome is Outcome.COMPLETE), key=lambda t: -(t.score or 0.0))[:10]
    dates = np.busday_offset("2023-01-02", np.arange(num_days)).astype("datetime64[D]")
    scored = {t.slot: metrics_of(held[:, t.slot - 1]) for t in (*leaders, trials[0])}
    decision = {"values": best.settings, "score": best.score, "reason": "The best of them, by more than the noise."}
    return CampaignEvidence(
        name="made-up",
        objective=ranker_metrics(HORIZONS)[0],
        metrics=ranker_metrics(HORIZONS),
        own_sections=Ranker().sections,
        seed=seed,
        tiers=[
            TierEvidence(n, name, num_trials // 3, f"made-up/{n}-{name}", dimensions, decision)
            for n, (name, dimensions) in enumerate(TIERS.items(), 1)
        ],
        trials=trials,
        champion_slot=best.slot,
        default_slot=1,
        holdout=HoldoutEvidence(
            dates=dates,
            daily=scored,
            details=make_panel_scores(rng, dates, 0.1),
            ceiling=metrics_of(held[:, 0] + level),
            source="holdout of made-up",
        ),
        num_holdout_openings=1,
        data_source="planted:realistic",
        config={"study": "made-up", "trainer": {"train": {"epochs": 12}}},
        fingerprints={"data": "0123abcd" * 4},
        command="hpo run study=made-up",
        log_settings=frozenset({"optim.lr"}),
        created_at=BEGIN,
    )


def with_committee(campaign: CampaignEvidence, **contenders: Any) -> CampaignEvidence:
    """The campaign with a committee of its leaders that is a little better than each, and contenders."""
    holdout = campaign.holdout
    assert holdout is not None
    together = {
        name: np.mean([daily[name] for daily in holdout.daily.values()], axis=0) + 0.01
        for name in ("rank_ic", "rank_ic_1d", "rank_ic_5d")
    }
    members = {f"made-up#{slot}": Member(slot, 1 / len(holdout.daily), 4, "0" * 64) for slot in holdout.daily}
    return replace(campaign, members=members, holdout=replace(holdout, committee=together, contenders=contenders))


@pytest.fixture(scope="session")
def committee_factory() -> Callable[..., CampaignEvidence]:
    return with_committee


@pytest.fixture(scope="session")
def campaign_factory() -> Callable[..., CampaignEvidence]:
    return make_campaign


@pytest.fixture(scope="session")
def trials_factory() -> Callable[..., NDArray[np.float64]]:
    return correlated_trials


@pytest.fixture(scope="session")
def made_up() -> CampaignEvidence:
    return make_campaign()
