"""`hpo show`: what a campaign is, for people or as one JSON document."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from hpo.cli.listing import shown_values
from hpo.cli.selection import study_of
from hpo.domain.campaign import Campaign
from hpo.domain.settings import flatten

WIDTH = 100
OURS = ("study", "space", "trainable", "trials", "seed", "objective")
"""Settings of the search that are shown by themselves."""


def show(options: argparse.Namespace) -> None:
    """Say what the campaign is: data, budget, space, settings, and what it came to."""
    from hpo.wiring import open_app

    with open_app() as app:
        found = description(app.records.find(study_of(options.overrides)))
    print(json.dumps(found, indent=2) if options.format == "json" else "\n".join(_lines(found)))


def description(campaign: Campaign) -> dict[str, Any]:
    """The campaign as plain JSON. settings: those that differ from their default, by dotted name."""
    from hpo.domain.config import SearchConfig
    from hpo.engine.tiers import dimensions_of
    from hpo.trainable.loading import load_trainable
    from hpo.usecases.campaigns import frozen_config

    config, space = frozen_config(campaign)
    trainable = load_trainable(config.trainable)
    known = {**SearchConfig().model_dump(mode="json"), "trainer": trainable.plain(trainable.parse({}))}
    given, defaults = flatten(config.model_dump(mode="json")), flatten(known)
    source = None if trainable.source is None else given.get(f"trainer.{trainable.source}")
    own = {f"trainer.{name}" for name in (*trainable.follows, *([trainable.source] if trainable.source else []))}
    return {
        "name": campaign.name,
        "state": campaign.state.value,
        "created_at": None if campaign.created_at is None else campaign.created_at.isoformat(timespec="seconds"),
        "trainable": config.trainable,
        "data": source,
        "objective": config.objective,
        "seed": campaign.spec.seed,
        "budget": campaign.spec.budget,
        "epochs": campaign.spec.config["num_epochs"],
        "space": space.name,
        "tiers": [
            {
                "name": tier.name,
                "trials": tier.num_slots,
                "dimensions": {each.name: shown_values(each) for each in dimensions_of(space, tier.name)},
            }
            for tier in campaign.spec.tiers
        ],
        "constraints": [constraint.shown for constraint in space.constraints],
        "settings": {
            name: value
            for name, value in given.items()
            if name not in OURS and name not in own and value != defaults.get(name)
        },
        "fingerprints": dict(campaign.spec.fingerprints),
        "champion": campaign.champion,
    }


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"Campaign   {found['name']}, {found['state']}, created {found['created_at']}"
    yield f"Data       {found['data'] or 'named by no setting'}"
    yield f"Trained    {found['trainable']}, {found['epochs']} epochs a trial, maximising {found['objective']}"
    yield f"Budget     {found['budget']} trials, seed {found['seed']}"
    yield f"Space      {found['space']}"
    seen: set[str] = set()
    for tier in found["tiers"]:
        yield f"  {tier['name']}: {tier['trials']} {'trial' if tier['trials'] == 1 else 'trials'}"
        fresh = {name: values for name, values in tier["dimensions"].items() if name not in seen}
        yield from (f"    {name}: {values}" for name, values in fresh.items())
        if len(fresh) < len(tier["dimensions"]):
            yield "    the dimensions above" if not fresh else "    and the dimensions above"
        seen |= set(tier["dimensions"])
    yield from (f"  must keep: {constraint}" for constraint in found["constraints"])
    yield "Settings   " + ("as by default" if not found["settings"] else "that differ from their default")
    for name, value in found["settings"].items():
        yield from textwrap.wrap(f"  {name} = {value}", WIDTH, subsequent_indent="      ")
    prints = ", ".join(f"{name} {digest[:8]}" for name, digest in found["fingerprints"].items())
    yield f"Fingerprints: {prints}"
    yield f"Outcome    see `hpo best {found['name']}` and `hpo report {found['name']}`"
