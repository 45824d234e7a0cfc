"""A trial of a campaign as a side of a comparison: its daily series on validation, and on the holdout where that has
been opened for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import DEFAULT_TRAINABLE, Campaign
from hpo.domain.champion import Champion
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.metric import Metric
from hpo.domain.trainable import Trainable
from hpo.report.collect import candidates, mean_daily
from hpo.report.comparison import Measured, Side
from hpo.report.evidence import DailySeries
from hpo.report.holdout import measure
from hpo.runs.folder import Attempt
from hpo.trainable.loading import load_trainable
from hpo.usecases.campaigns import frozen_config, prepare_data, trainable_of
from hpo.usecases.deployed import deployed_file
from hpo.usecases.records import Records
from hpo.usecases.results import best_slot

NUM_LEADERS = 10
"""Trials scored on the holdout beside champion and default, to show how validation scores shrink there."""


def trial_side(records: Records, campaign: Campaign, slot: int | None, *, with_holdout: bool) -> Side:
    """A trial of a campaign (None: what it deploys, or the best so far) with its daily series.

    with_holdout: score it on the holdout, which is counted as an opening.

    Raises:
        UsageError: there is no such trial, or it has not finished an epoch. EnvironmentFault: its files are not here,
            or not those that were recorded.
    """
    champion = campaign.crowned
    if slot is None and champion is not None and champion.is_committee:
        return _committee(records, campaign, champion, with_holdout=with_holdout)
    chosen = best_slot(records, campaign) if slot is None else slot
    views = {view.slot: view for view in records.ledger.slots(campaign.id)}
    if chosen not in views:
        raise UsageError(f"The campaign '{campaign.name}' has trials 1 to {len(views)}, and no {chosen}.")
    config, _ = frozen_config(campaign)
    trainable, settings = trainable_of(config)
    prepared = prepare_data(records.cache, config)
    archive = records.archive(campaign)
    attempt = archive.intact(chosen)
    if attempt is None and archive.record(chosen, "result") is not None:
        raise EnvironmentFault(archive.whereabouts(chosen))
    epochs = [record.epoch for record in attempt.epochs()] if attempt else []
    if attempt is None or not epochs:
        raise UsageError(
            f"Trial {chosen} of '{campaign.name}' has finished no epoch here; there is nothing to compare."
        )
    daily = mean_daily(attempt, epochs[-trainable.length(settings).score_epochs :], trainable)
    holdout = None
    if with_holdout and prepared.holdout is not None:
        archive.model(chosen)
        records.ledger.count_holdout_opening(campaign.id)
        measured = measure(trainable, archive, [chosen], prepared.holdout)
        holdout = Measured(measured.dates, measured.daily[chosen]) if measured else None
    return Side(
        f"{campaign.name}#{chosen}, {views[chosen].outcome or views[chosen].state}, epoch {epochs[-1]}",
        _metrics(campaign),
        Measured(_units(trainable, prepared.search, daily), daily),
        holdout,
    )


def single_run(records: Records, folder: Path) -> Side:
    """A single training of the trainer, by its folder, on its validation days.

    Raises:
        UsageError: no epoch was finished there.
    """
    attempt = Attempt(folder)
    if not attempt.config_file.is_file() or not attempt.epochs():
        raise UsageError(
            f"{folder} is no folder of a training that has finished an epoch; there is nothing to compare."
        )
    trainable = load_trainable(DEFAULT_TRAINABLE)
    settings = trainable.parse(attempt.config())
    prepared = trainable.prepare(settings, records.cache)
    epochs = [record.epoch for record in attempt.epochs()]
    daily = mean_daily(attempt, epochs[-trainable.length(settings).score_epochs :], trainable)
    units = _units(trainable, prepared.search, daily)
    return Side(f"{folder}, epoch {epochs[-1]}", trainable.metrics(settings), Measured(units, daily))


def _committee(records: Records, campaign: Campaign, champion: Champion, *, with_holdout: bool) -> Side:
    """Members were chosen on the validation days, and are not measured there."""
    config, _ = frozen_config(campaign)
    trainable, _ = trainable_of(config)
    prepared, holdout = prepare_data(records.cache, config), None
    if with_holdout and prepared.holdout is not None:
        deployed = deployed_file(records, campaign, champion)
        records.ledger.count_holdout_opening(campaign.id)
        scored = trainable.score(deployed, prepared.holdout)
        holdout = Measured(scored.units, scored.series) if scored else None
    name = f"{campaign.name}, the committee of {len(champion.members)} trials"
    return Side(name, _metrics(campaign), None, holdout)


def _metrics(campaign: Campaign) -> list[Metric]:
    """All there are, the objective first."""
    return sorted(campaign.spec.metrics, key=lambda metric: metric != campaign.spec.objective)


def has_holdout(records: Records, campaign: Campaign, slot: int | None) -> bool:
    """Whether the report of the complete campaign has scored this trial (None: what it deploys) on the holdout."""
    champion = campaign.crowned
    if champion is None or not campaign.num_holdout_openings:
        return False
    if slot is None:
        return all(map(records.archive(campaign).is_kept, champion.slots))
    chosen = best_slot(records, campaign) if slot is None else slot
    is_measured = chosen in candidates(campaign, records.ledger.slots(campaign.id), NUM_LEADERS)
    return is_measured and records.archive(campaign).is_kept(chosen)


def _units(trainable: Trainable[Any], search: Path, daily: DailySeries) -> NDArray[Any]:
    """The units of the validation series; counted where they have no names."""
    named = trainable.validation_units(search)
    return np.arange(max(map(len, daily.values()), default=0)) if named is None else named
