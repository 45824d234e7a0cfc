"""Which campaign, trial and settings a command is about, from what was typed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.domain.campaign import DEFAULT_STUDY, Campaign
from hpo.domain.errors import UsageError
from hpo.usecases import results
from hpo.wiring import App

if TYPE_CHECKING:
    from hpo.domain.config import SearchConfig
    from hpo.report.comparison import Side
    from search_spaces import Space


def composed(options: argparse.Namespace, fork: str | None = None) -> tuple[SearchConfig, Space]:
    """The configuration of a run from its settings and options."""
    from hpo.cli import config_loader
    from hpo.domain.settings import quoted

    overrides = list(options.overrides)
    if options.space is not None:
        if any(override.startswith("space=") for override in overrides):
            raise UsageError("--space and space=... are the same setting; give one of them.")
        overrides.append(f"space={quoted(options.space)}")
    if fork is not None:
        overrides.append(f"study={quoted(fork)}")
    return config_loader.load(overrides, Path(options.config) if options.config else None, options.data)


def separate_runs(options: argparse.Namespace) -> list[argparse.Namespace]:
    """The options of each campaign of a multirun, all of them composed once before the first one starts."""
    from hpo.cli import config_loader

    if options.fork is not None:
        raise UsageError("--multirun names its campaigns by what varies, and --fork by hand; give one of them.")
    runs = [
        argparse.Namespace(**{**vars(options), "overrides": overrides, "multirun": False})
        for overrides in config_loader.multirun(options.overrides).values()
    ]
    for run in runs:
        composed(run)
    return runs


def named_trial(app: App, name: str) -> tuple[Campaign, int | None]:
    """`NAME` (None: its champion) or `NAME#7`."""
    study, _, number = name.partition("#")
    if "#" in name and not number.isdigit():
        raise UsageError(f"'{name}': write NAME for a campaign's champion or NAME#7 for its trial 7.")
    return app.records.find(study), int(number) if number else None


def side_of(app: App, campaign: Campaign, slot: int | None) -> int | None:
    """A trial of a comparison; None: the campaign's committee."""
    if slot is not None or (campaign.crowned is not None and campaign.crowned.is_committee):
        return slot
    return results.best_slot(app.records, campaign)


def sides(app: App, first: str, second: str) -> tuple[Side, Side]:
    """The two sides of a comparison, each named as in `named_trial` or, with a slash, the folder of a single training,
    which is compared on validation days alone. UsageError where they are the same."""
    from hpo.usecases.inspection.compare import has_holdout, single_run, trial_side

    if "/" in first + second:
        if first == second:
            raise UsageError(f"'{first}' is on both sides; name two different trainings.")
        one, other = (
            single_run(app.records, Path(name)) if "/" in name else _validated(app, name) for name in (first, second)
        )
        return one, other
    named = [named_trial(app, name) for name in (first, second)]
    chosen = [(each, side_of(app, each, slot)) for each, slot in named]
    if chosen[0] == chosen[1]:
        which = "what is deployed" if chosen[0][1] is None else f"trial {chosen[0][1]}"
        raise UsageError(
            f"'{first}' and '{second}' are both {which} of '{chosen[0][0].name}'; name two different trials."
        )
    with_holdout = all(has_holdout(app.records, *side) for side in chosen)
    one, other = (trial_side(app.records, *side, with_holdout=with_holdout) for side in chosen)
    return one, other


def _validated(app: App, name: str) -> Side:
    from hpo.usecases.inspection.compare import trial_side

    campaign, slot = named_trial(app, name)
    return trial_side(app.records, campaign, side_of(app, campaign, slot), with_holdout=False)


def study_of(overrides: Sequence[str]) -> str:
    """The campaign that is meant; nothing but `study=` makes sense where one exists already."""
    for override in overrides:
        if not override.startswith("study="):
            raise UsageError(f"'{override}': this command takes study=NAME alone; it works on a campaign as it is.")
    return overrides[-1].removeprefix("study=") if overrides else DEFAULT_STUDY


def resumed(overrides: Sequence[str]) -> str:
    """The campaign that is meant where other settings may be given beside it."""
    return study_of([override for override in overrides if override.startswith("study=")])


def frozen(app: App, overrides: Sequence[str], allowed: Sequence[str]) -> tuple[Campaign, SearchConfig, Space]:
    """The campaign that is meant, with its own configuration and the allowed settings changed."""
    from hpo.cli import config_loader
    from hpo.usecases.campaigns import frozen_config

    others = [override for override in overrides if not override.startswith("study=")]
    for override in others:
        if not override.startswith(tuple(allowed)):
            raise UsageError(
                f"'{override}': a campaign goes on as it was created; only {' and '.join(allowed)} may be "
                "given. Start another with `hpo run study=NAME ...`, or fork it with --fork NAME."
            )
    campaign = app.records.find(resumed(overrides))
    config, space = frozen_config(campaign)
    at_least = config.model_copy(update={"trials": campaign.spec.budget})
    _refuse_other_budget(config, others)
    return campaign, config_loader.changed(at_least, others), space


def _refuse_other_budget(config: SearchConfig, overrides: Sequence[str]) -> None:
    own, other = ("trials", "epochs") if config.epochs is None else ("epochs", "trials")
    for override in overrides:
        if override.startswith(f"{other}="):
            raise UsageError(f"'{override}': the campaign's budget is in {own}; give {own}=... to raise it.")


def agreed(question: str) -> bool:
    """Whether the user answers yes; not asked where nobody can answer."""
    if not sys.stdin.isatty():
        return False
    return input(question).strip().lower() in ("y", "yes")
