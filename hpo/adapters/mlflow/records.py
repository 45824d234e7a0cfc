"""What MLflow is told of campaigns and trials: names, tags, parameters, metrics and files, as plain values."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hpo.adapters.dashboard.links import optuna_study, optuna_trial
from hpo.adapters.dashboard.pictures import learning_curve
from hpo.adapters.mlflow.quiet import Dataset
from hpo.adapters.mlflow.store import Point
from hpo.domain.campaign import Campaign, Outcome, TierPlan
from hpo.runs.durable import encode
from hpo.runs.entries import EpochRecord, Result
from hpo.runs.folder import Attempt
from hpo.trainable.loading import load_trainable
from search_spaces import parse_space

MAX_KEY = 250
MAX_VALUE = 6000
"""MLflow's limits on parameters, in characters."""
MAX_TAG = 5000
PARENT = "mlflow.parentRunId"
STATUS_TAG = "tiertune.status"
STATUS = {Outcome.COMPLETE: "FINISHED", Outcome.PRUNED: "KILLED", Outcome.FAILED: "FAILED"}
"""Outcome -> what a list of runs shows at a glance."""
MAX_DIGEST = 36
"""MLflow's limit on the digest of a dataset, in characters."""


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names; lists stay values."""
    for name, part in value.items():
        if isinstance(part, Mapping) and part:
            yield from flatten(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def params(*settings: Mapping[str, Any]) -> dict[str, str]:
    """MLflow parameters of nested settings; where two name the same, the last counts."""
    flat = {name: part for group in settings for name, part in flatten(group)}
    return {name[:MAX_KEY]: _short(_text(part), MAX_VALUE) for name, part in flat.items()}


def trial_params(campaign: Campaign, attempt: Attempt) -> dict[str, str]:
    """A trial's whole settings, less those of dimensions that do not exist in it."""
    given, stored = attempt.run()["params"], campaign.spec.config.get("space")
    space = None if stored is None else parse_space(stored["yaml"], stored["name"], f"the space '{stored['name']}'")
    absent = {dimension.name for dimension in space.dimensions if dimension.when} - given.keys() if space else set()
    return {name: text for name, text in params(attempt.config(), given).items() if name not in absent}


def trial_key(campaign: str, slot: int) -> str:
    """The value of the tag `tiertune.slot`, by which a trial's run is found."""
    return f"{campaign}#{slot:04d}"


def tier_key(number: int, name: str) -> str:
    """The value of the tag `tiertune.tier`."""
    return f"{number}-{name}"


def origin(campaign: str) -> dict[str, str]:
    """Tags of every run that say who made it by what."""
    try:
        user = {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError, ImportError):  # a user without a name, as containers have them
        user = {}
    return {**user, "mlflow.source.name": f"hpo run study={campaign}", "mlflow.source.type": "LOCAL"}


def dataset(campaign: Campaign) -> Dataset:
    """What all of a campaign's trials are trained on; the digest is the beginning of its fingerprint."""
    trainable = load_trainable(campaign.spec.trainable)
    settings = dict(flatten(campaign.spec.config.get("search", {}).get("trainer", {})))
    source = str(settings.get(trainable.source or "") or trainable.name)
    is_file = Path(source).is_absolute()
    return Dataset(
        name=Path(source).name if is_file else source,
        digest=campaign.spec.fingerprints.get("data", "")[:MAX_DIGEST],
        source_type="local" if is_file else "made",
        source=json.dumps({"uri": source}),
    )


def campaign_tags(campaign: Campaign, study_id: int | None = None) -> dict[str, str]:
    """Tags of a campaign's run. study_id: of its study in optuna-dashboard."""
    address = None if study_id is None else optuna_study(study_id)
    marks = {f"tiertune.fingerprint.{name}": value for name, value in campaign.spec.fingerprints.items()}
    champion = campaign.champion or {}
    size = f"{campaign.spec.budget} trials in {len(campaign.spec.tiers)} tiers"
    note = f"Campaign **{campaign.name}**: {size}, {campaign.state}.{_see_also('Its study', address)}"
    if champion.get("slot") is not None:
        note += f"\n\nChampion: trial {champion['slot']}, {_settings(champion.get('values', {}))}."
        marks["tiertune.champion"] = trial_key(campaign.name, champion["slot"])
    if campaign.crowned is not None and campaign.crowned.is_committee:
        note += f"\n\nDeployed: the mean of the daily ranks of {', '.join(campaign.crowned.members)}."
    note += "".join(_tier(campaign, tier) for tier in campaign.spec.tiers)
    return _tags(
        marks,
        kind="campaign",
        campaign=campaign.name,
        budget=campaign.spec.budget,
        seed=campaign.spec.seed,
        state=campaign.state,
        optuna=address,
        note=note,
    )


def trial_tags(attempt: Attempt, result: Result | None, study_id: int | None = None) -> dict[str, str]:
    """Tags of a trial's run; those of its end once it has one. study_id: of the campaign's study."""
    run = attempt.run()
    address = None if study_id is None else optuna_trial(study_id, run["slot"])
    note = f"Trial {run['slot']} of **{run['campaign']}**, tier {run['tier_name']}."
    note += f"{_see_also('The trial', address)}\n\n{_settings(run['params'])}"
    tags: dict[str, Any] = {
        "slot": trial_key(run["campaign"], run["slot"]),
        "tier": tier_key(run["tier"], run["tier_name"]),
        "optuna_trial": run.get("trial_number"),
        "study": run.get("study_name"),
        "searched": ", ".join(run["params"]),
        "host": run.get("worker", {}).get("host"),
        "optuna": address,
    }
    if result is not None:
        score = "" if result.score is None else f", score {result.score:+.5f}"
        note += f"\n\n{result.outcome}{score}{': ' + result.reason if result.reason else ''}"
        tags |= {"outcome": result.outcome, "reason": result.reason, "device": result.device}
    return _tags({}, kind="trial", campaign=run["campaign"], note=note, **tags)


def epoch_metrics(records: Sequence[EpochRecord]) -> list[Point]:
    """Every scalar of the epochs at its epoch's time."""
    return [
        Point(name, value, milliseconds(record.time), record.epoch)
        for record in records
        for name, value in {**record.metrics, "score": record.score, "epoch_seconds": record.seconds}.items()
    ]


def result_metrics(result: Result, records: Sequence[EpochRecord]) -> list[Point]:
    """What runs are sorted by, at step 0 and the last epoch's time, so that saying it again changes nothing."""
    time = milliseconds(records[-1].time if records else result.finished_at)
    said = {
        "result/score": result.score,
        "result/last_epoch": result.last_epoch,
        "result/num_parameters": result.num_parameters,
        "result/num_epochs": len(records),
    }
    return [Point(name, float(value), time, 0) for name, value in said.items() if value is not None]


def write_artifacts(attempt: Attempt, result: Result, target: Path) -> None:
    """A finished trial's files into an empty folder: configuration, daily series, learning curve, `model.pt`.

    The checkpoint only where the trial is COMPLETE. `daily.npz` holds float32 [E, V] by metric, E epochs, V days.
    """
    (target / "config.json").write_bytes(encode(attempt.config()))
    records = attempt.epochs()
    if not records:
        return
    series = [attempt.daily(record.epoch) for record in records]
    if series[0]:
        stacked = {name: np.stack([epoch[name] for epoch in series]) for name in series[0]}
        np.savez(target / "daily.npz", allow_pickle=False, **stacked)
    (target / "learning_curve.svg").write_bytes(learning_curve(records, attempt.run()))
    if result.outcome is Outcome.COMPLETE and attempt.model.exists():
        (target / attempt.model.name).symlink_to(attempt.model.resolve())


def report_tags(report: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a campaign's run that a written report (`report.json`) adds."""
    return {f"tiertune.{name}": _short(str(report[name]), MAX_TAG) for name in ("finding", "verdict")}


def report_metrics(report: Mapping[str, Any]) -> list[Point]:
    """The report's figures, at the time it was written: campaigns can be sorted by them."""
    time = milliseconds(datetime.fromisoformat(report["created_at"]))
    facts = {key: fact["value"] for section in report["sections"].values() for key, fact in section["facts"].items()}
    figures = {key: value.get("estimate") if isinstance(value, Mapping) else value for key, value in facts.items()}
    return [Point(f"report/{key}", float(value), time, 0) for key, value in figures.items() if value is not None]


def milliseconds(time: datetime) -> int:
    """MLflow's time: whole milliseconds since 1970."""
    return round(time.timestamp() * 1000)


def _tags(marks: Mapping[str, Any], note: str, **ours: Any) -> dict[str, str]:
    named = {f"tiertune.{name}": value for name, value in ours.items()}
    said = {**marks, **named, "mlflow.note.content": note}
    return {name: _short(str(value), MAX_TAG) for name, value in said.items() if value is not None}


def _tier(campaign: Campaign, tier: TierPlan) -> str:
    """A paragraph of the campaign's note."""
    decision = campaign.decisions.get(tier.number)
    text = f"\n\nTier {tier.number}, **{tier.name}**: {tier.num_slots} trials."
    if decision is not None:
        text += f" Decided: {_settings(decision.get('values', {}))}. {decision.get('reason') or ''}"
    return text


def _see_also(what: str, address: str | None) -> str:
    return "" if address is None else f" [{what} in optuna-dashboard]({address}) (with `hpo dashboard optuna` up)."


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}" for name, value in values.items()
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
