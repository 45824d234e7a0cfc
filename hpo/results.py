"""What a campaign has come to: its best trial as settings, as scores of new data, beside another campaign's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.domain import Campaign, Outcome
from hpo.errors import EnvironmentFault, UsageError
from hpo.report.collect import candidates, mean_daily
from hpo.report.comparison import Contender, Measured
from hpo.report.holdout import measure
from hpo.run_folder import Attempt, SlotFolder
from hpo.wiring import App, frozen_config, prepare_data

if TYPE_CHECKING:
    from trainer.prediction import Prediction

NUM_LEADERS = 10
"""Trials scored on the holdout beside champion and default, to show how validation scores shrink there."""


def best_slot(app: App, campaign: Campaign) -> int:
    """The champion's slot, or that of the best trial so far. UsageError where no trial is complete."""
    if campaign.champion is not None and campaign.champion["slot"] is not None:
        return int(campaign.champion["slot"])
    complete = [slot for slot in app.ledger.slots(campaign.id) if slot.outcome is Outcome.COMPLETE]
    if not complete:
        raise UsageError(f"The campaign '{campaign.name}' has no complete trial yet; wait, or see `hpo status`.")
    return max(complete, key=lambda slot: slot.score or float("-inf")).slot


def best_settings(app: App, campaign: Campaign) -> Mapping[str, Any]:
    """The resolved trainer configuration of the champion, or of the best trial so far."""
    return _attempt(app, campaign, best_slot(app, campaign)).config()


def standing(app: App, campaign: Campaign) -> list[str]:
    """The champion, or the best trial so far, for a person."""
    slot = best_slot(app, campaign)
    score = next(view.score for view in app.ledger.slots(campaign.id) if view.slot == slot)
    who = "Champion" if campaign.champion is not None else "Best so far (the campaign is not complete)"
    settings = [f"  {name} = {value}" for name, value in _attempt(app, campaign, slot).run()["params"].items()]
    return [f"{who} of '{campaign.name}': trial {slot}, validation score {score:+.4f}", *settings]


def predict(app: App, campaign: Campaign, source: Path, output: Path, *, everything: bool) -> Prediction:
    """Score new data with the champion, or the best trial so far, and write the table to output.

    source: Parquet or CSV (file or folder) in the columns of the training data. output: `.parquet` or `.csv`.
    everything: score also the days up to the last one the search was given.

    Raises:
        UsageError: output is no such file, or the source itself. InputError: the data do not fit the model, or hold
            no later day. EnvironmentFault: there is no checkpoint here, or output cannot be written.
    """
    from trainer.prediction import predict as score
    from trainer.scoring import load_scorer

    if output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--output {output}: the name must end in .parquet or .csv, which also chooses the format.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.absolute().parent}; make it first.")
    if output.absolute() == source.absolute():
        raise UsageError(f"--output {output} is the data themselves; choose another name.")
    attempt = _attempt(app, campaign, best_slot(app, campaign))
    if not attempt.best.exists():
        raise EnvironmentFault(f"The checkpoint {attempt.best} is not on this machine; run this where the trial ran.")
    scorer = load_scorer(attempt.best)
    made = score(str(source), scorer, after=None if everything else scorer.last_day)
    unfinished = output.with_name(f".{output.stem}.{os.getpid()}{output.suffix}")
    try:
        if output.suffix == ".csv":
            made.table.to_csv(unfinished, index=False)
        else:
            made.table.to_parquet(unfinished, index=False)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    return made


def contender(app: App, campaign: Campaign, slot: int | None, *, with_holdout: bool) -> Contender:
    """A trial of a campaign (None: its champion, or the best so far) with its daily series.

    with_holdout: score its checkpoint on the holdout, which is counted as an opening.

    Raises:
        UsageError: there is no such trial, or it has not finished an epoch.
    """
    chosen = best_slot(app, campaign) if slot is None else slot
    views = {view.slot: view for view in app.ledger.slots(campaign.id)}
    if chosen not in views:
        raise UsageError(f"The campaign '{campaign.name}' has trials 1 to {len(views)}, and no {chosen}.")
    config, _ = frozen_config(campaign)
    prepared = prepare_data(app, config)
    attempt = SlotFolder(app.runs(campaign.name), chosen).current()
    epochs = [record.epoch for record in attempt.epochs()] if attempt else []
    if attempt is None or not epochs:
        raise UsageError(
            f"Trial {chosen} of '{campaign.name}' has finished no epoch here; there is nothing to compare."
        )
    daily = mean_daily(attempt, epochs[-config.trainer.train.score_epochs :])
    holdout = None
    if with_holdout:
        app.ledger.count_holdout_opening(campaign.id)
        measured = measure(app.runs(campaign.name), [chosen], None, prepared.holdout)
        holdout = Measured(measured.dates, measured.daily[chosen])
    return Contender(
        f"{campaign.name}#{chosen}, {views[chosen].outcome or views[chosen].state}, epoch {epochs[-1]}",
        tuple(config.trainer.data.horizons),
        Measured(_validation_days(prepared.search), daily),
        holdout,
    )


def has_holdout(app: App, campaign: Campaign, slot: int | None) -> bool:
    """Whether the report of the complete campaign has scored this trial (None: the champion) on the holdout."""
    if campaign.champion is None or campaign.champion["slot"] is None or not campaign.num_holdout_openings:
        return False
    chosen = best_slot(app, campaign) if slot is None else slot
    is_measured = chosen in candidates(campaign, app.ledger.slots(campaign.id), NUM_LEADERS)
    attempt = SlotFolder(app.runs(campaign.name), chosen).current()
    return is_measured and attempt is not None and attempt.best.exists()


def _validation_days(search: Path) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    from trainer.data import open_training

    data = open_training(search)
    return np.concatenate([data.panel.dates[fold.valid.start : fold.valid.stop] for fold in data.folds])


def _attempt(app: App, campaign: Campaign, slot: int) -> Attempt:
    attempt = SlotFolder(app.runs(campaign.name), slot).current()
    if attempt is None:
        raise EnvironmentFault(f"The run folder of trial {slot} is not below {app.runs(campaign.name)}.")
    return attempt
