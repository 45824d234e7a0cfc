"""A campaign's evidence, read from the ledger's values and the run folders."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import REFINEMENT, Campaign, Outcome, SlotView
from hpo.domain.config import SearchConfig
from hpo.domain.doubt import best_doubt
from hpo.domain.settings import flatten
from hpo.domain.trainable import Length, Prepared, Trainable
from hpo.report.evidence import (
    CampaignEvidence,
    DailySeries,
    EpochEvidence,
    HoldoutEvidence,
    TierEvidence,
    TrialEvidence,
)
from hpo.report.local_paths import file_name, known_places, without_places
from hpo.runs.archive import Archive
from hpo.runs.folder import Attempt
from search_spaces import FloatDimension, Space, parse_space

DEFAULT_SLOT = 1
"""The first slot of every campaign trains the default configuration."""

SAID_APART = {"study", "trials", "space"}
"""Settings that have words of their own in the command, or follow others."""

PACKAGES = ("tiertune", "torch", "optuna", "numpy", "pandas", "mlflow")
"""Packages whose versions a report names."""


def collect(
    campaign: Campaign,
    slots: Sequence[SlotView],
    archive: Archive,
    trainable: Trainable[Any],
    holdout: HoldoutEvidence | None = None,
    *,
    prepared: Prepared | None = None,
    links: Mapping[str, str] | None = None,
) -> CampaignEvidence:
    """Everything a report needs.

    holdout: what `hpo.report.holdout.measure` found, None for a report without it. prepared: the campaign's data. A
    slot whose run folder is not on this machine contributes what the ledger knows of it. Raises EnvironmentFault for a
    file that is damaged.
    """
    search, stored = campaign.spec.config["search"], campaign.spec.config["space"]
    settings = trainable.parse(search["trainer"])
    trainer, length, state = trainable.plain(settings), trainable.length(settings), archive.home
    space = parse_space(stored["yaml"], stored["name"], f"the campaign '{campaign.name}'")
    flat = flatten(trainer)
    source = "" if trainable.source is None else str(flat.get(trainable.source) or "")
    places = known_places([search["space"], *(str(flat.get(name) or "") for name in trainable.path_settings)], state)
    return CampaignEvidence(
        name=campaign.name,
        objective=campaign.spec.objective,
        metrics=campaign.spec.metrics,
        seed=campaign.spec.seed,
        tiers=_tiers(campaign, space),
        trials=[_trial(slot, archive, trainable, length, places) for slot in slots],
        champion_slot=campaign.crowned.slot if campaign.crowned else None,
        members=campaign.crowned.members if campaign.crowned else {},
        default_slot=DEFAULT_SLOT,
        holdout=holdout and replace(holdout, faults=tuple(without_places(holdout.faults, places))),
        num_holdout_openings=campaign.num_holdout_openings,
        data_source=file_name(source) or trainable.name,
        data_summary=without_places(prepared.summary if prepared else {}, places),
        data_lines=tuple(without_places(prepared.lines if prepared else (), places)),
        data_warnings=tuple(without_places(prepared.warnings if prepared else (), places)),
        doubt=best_doubt(trainable, settings, search["objective"], slots, _on_holdout(holdout, search["objective"])),
        config=without_places(search, places),
        fingerprints=campaign.spec.fingerprints,
        environment=_environment(),
        command=_command(campaign, space, trainable, source),
        links=links or {},
        log_settings=frozenset(d.name for d in space.dimensions if isinstance(d, FloatDimension) and d.log),
        parents=space.parents,
        created_at=campaign.created_at,
        own_sections=trainable.sections,
    )


def candidates(campaign: Campaign, slots: Sequence[SlotView], num_leaders: int) -> list[int]:
    """Slots worth scoring on the holdout: the champion, the default, and the leaders by validation score."""
    complete = [slot for slot in slots if slot.outcome is Outcome.COMPLETE and slot.score is not None]
    leaders = sorted(complete, key=lambda slot: (-(slot.score or 0.0), slot.slot))[:num_leaders]
    champion = campaign.crowned.slot if campaign.crowned else None
    first = [slot for slot in (champion, DEFAULT_SLOT) if slot is not None]
    return list(dict.fromkeys([*first, *(slot.slot for slot in leaders)]))


def _on_holdout(holdout: HoldoutEvidence | None, metric: str) -> list[float]:
    """Mean scores of everything that was measured there."""
    if holdout is None:
        return []
    series = [*holdout.daily.values(), *holdout.contenders.values()]
    return [float(np.nanmean(daily[metric])) for daily in series if np.isfinite(daily.get(metric, np.nan)).any()]


def _tiers(campaign: Campaign, space: Space) -> list[TierEvidence]:
    names = {tier.name: [dimension.name for dimension in tier.dimensions] for tier in space.tiers}
    names[REFINEMENT] = [dimension.name for dimension in space.dimensions]
    return [
        TierEvidence(
            plan.number,
            plan.name,
            plan.num_slots,
            plan.study_name(campaign.name),
            names[plan.name],
            campaign.decisions.get(plan.number),
        )
        for plan in campaign.spec.tiers
    ]


def _trial(
    view: SlotView, archive: Archive, trainable: Trainable[Any], length: Length, places: Mapping[str, str]
) -> TrialEvidence:
    worker = f"{view.worker.host.partition('/')[0]}/{view.worker.pid}" if view.worker else None
    common: dict[str, Any] = {
        "slot": view.slot,
        "tier": view.tier,
        "outcome": view.outcome,
        "trial_number": view.trial_number,
        "score": view.score,
        "planned_epochs": length.num_epochs,
        "reason": without_places(view.reason, places),
        "num_interruptions": max(view.fence - 1 - len(view.pauses), 0),
        "num_pauses": len(view.pauses),
        "worker": worker,
        "started_at": view.started_at,
        "finished_at": view.finished_at,
    }
    attempt = archive.intact(view.slot)
    if attempt is None:
        return TrialEvidence(**common)
    run, result, records = attempt.run(), attempt.result(), attempt.epochs()
    epochs = [EpochEvidence(each.epoch, each.score, each.seconds, each.time, each.metrics) for each in records]
    return TrialEvidence(
        **common,
        settings=run["params"],
        epochs=epochs,
        daily=mean_daily(attempt, [epoch.epoch for epoch in epochs[-length.score_epochs :]], trainable),
        last_epoch=result.last_epoch if result else None,
        num_parameters=result.num_parameters if result else None,
        trainer_seed=run["trainer_seed"],
        device=result.device if result else None,
        folder=attempt.folder.relative_to(archive.runs.parent).as_posix(),
    )


def mean_daily(attempt: Attempt, epochs: Sequence[int], trainable: Trainable[Any]) -> DailySeries:
    """Each metric's series averaged over epochs, so that the objective's mean is the trial's score.

    Where the last days lack the longer labels, the mean over horizons has fewer days than the score. {} without epochs.
    """
    series = [trainable.derive(attempt.daily(epoch)) for epoch in epochs]
    return {name: _mean([epoch[name] for epoch in series]) for name in series[0]} if series else {}


def _mean(series: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    total = np.stack(series).sum(axis=0, dtype=np.float64)
    return np.asarray(total / len(series), dtype=np.float32)


def _command(campaign: Campaign, space: Space, trainable: Trainable[Any], source: str) -> str:
    """The call that begins this campaign anew: every setting that is neither a default nor the space's own."""
    search = campaign.spec.config["search"]
    held = {f"trainer.{name}": value for name, value in space.settings.items()}
    settings = trainable.parse({})
    own = {"objective": trainable.metrics(settings)[0].name, "trainer": trainable.plain(settings)}
    defaults = {**SearchConfig().model_dump(mode="json"), **own}
    usual = {**flatten(defaults), **flatten(held)}
    words = ["hpo", "run", f"study={campaign.name}", f"trials={campaign.spec.budget}"]
    words += ["--space", file_name(search["space"])]
    words += ["--data", file_name(source)] if source else []
    said_apart = {*SAID_APART, *(f"trainer.{name}" for name in (trainable.source, *trainable.follows) if name)}
    files = {f"trainer.{name}" for name in trainable.files}
    for name, value in flatten(search).items():
        is_said = name in said_apart or name.startswith("worker.")
        if not is_said and value != usual.get(name):
            value = file_name(value) if name in files else value
            words.append(f"{name}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}")
    return " ".join(shlex.quote(word) for word in words)


def _environment() -> dict[str, str]:
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}", **versions}
