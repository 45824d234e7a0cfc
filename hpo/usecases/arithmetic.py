"""Workers that would compute otherwise than a campaign began with: another processor, precision or torch."""

from __future__ import annotations

from hpo.domain.campaign import Campaign
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.engine.stage import open_study, stages
from hpo.usecases.campaigns import length_of
from hpo.usecases.records import Stores
from search_spaces import Space

ARITHMETIC = "arithmetic"
"""Attribute of the first tier's study: what the first worker computed with that cared."""
DEVICE = "device"
"""Attribute of a trial: what it was trained with."""


def refuse_other_arithmetic(
    stores: Stores, campaign: Campaign, config: SearchConfig, space: Space, here: str | None
) -> None:
    """Raise UsageError where a training here would be another than the campaign's first one, by processor, precision or
    torch. here: what a training on this machine would run on; None: its trainable does not know."""
    if here is None:
        raise UsageError(
            f"worker.same_arithmetic has no effect with trainable={campaign.spec.trainable}: it does not say what it "
            "computes with (its method `describe_device`); leave the setting out."
        )
    stage = stages(campaign, config, space, length_of(config))[1]
    study = open_study(stage, stores.storage, stores.ledger)
    with stores.ledger.exclusive(f"arithmetic of {campaign.name}"):
        trained = (trial.user_attrs.get(DEVICE) for trial in study.get_trials(deepcopy=False))
        first = study.user_attrs.get(ARITHMETIC) or next(filter(None, trained), None)
        if first is None:
            study.set_user_attr(ARITHMETIC, first := here)
    if here != first:
        raise UsageError(
            f"This machine computes otherwise than the campaign '{campaign.name}' began with: here with {here}; there "
            f"with {first}. Start this worker on a machine of that kind, or without worker.same_arithmetic."
        )
