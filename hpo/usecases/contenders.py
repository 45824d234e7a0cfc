"""What needs no search beside a finished campaign: trained once, judged on the same holdout, kept with its runs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.adapters.processes.host import available_memory, num_threads
from hpo.domain.campaign import Campaign
from hpo.domain.errors import EnvironmentFault, HpoError
from hpo.domain.trainable import Prepared, Scored, Trainable
from hpo.domain.training import TrialFailure
from hpo.report.evidence import DailySeries, HoldoutEvidence
from hpo.runs.durable import read_sealed, write_sealed
from hpo.trainable.loading import load_trainable
from hpo.usecases.fingerprints import code_fingerprint
from hpo.wiring import App

KEPT = "contenders.json"
"""Beside a campaign's slots: what contenders were trained with (`of`), and their `series` on the holdout by name."""

Say = Callable[[str], None]
Train = Callable[[Path], Scored]


def with_contenders(
    app: App, campaign: Campaign, prepared: Prepared, measured: HoldoutEvidence, say: Say
) -> HoldoutEvidence:
    """What was measured, with the trainable's contenders on the same units. Those of an earlier report on the same
    data, settings and code are not trained again. One that fails is named in `faults`, and ends nothing."""
    trainable, search = load_trainable(campaign.spec.trainable), campaign.spec.config["search"]
    settings = trainable.parse(search["trainer"])
    file, basis = app.runs(campaign.name) / KEPT, _basis(trainable, settings, prepared)
    threads = max(1, num_threads() // int(search["worker"]["num_workers"]))
    try:
        asked = _asked(trainable, trainable.on_machine(settings, threads), prepared)
    except Exception as error:  # a user's code may raise anything
        return replace(measured, faults=(f"There are no contenders: {_reason(error)}.",))
    kept, faults = _kept(file, basis), list[str]()
    found = {name: kept[name] for name in asked if name in kept}
    for name in [name for name in asked if name not in kept]:
        say(f"Training the contender {name}, which needs no search ...")
        try:
            found[name] = _trained(asked[name], measured.dates)
        except Exception as error:
            faults.append(f"The contender {name} failed and is left out: {_reason(error)}.")
    if found.keys() - kept.keys():
        _keep(file, basis, found, say)
    return replace(measured, contenders={name: found[name] for name in asked if name in found}, faults=tuple(faults))


def _basis(trainable: Trainable[Any], settings: Any, prepared: Prepared) -> dict[str, str]:
    """What decides a contender's series."""
    plain = json.dumps(trainable.plain(settings), sort_keys=True)
    digest = hashlib.sha256(plain.encode()).hexdigest()
    return {"data": prepared.fingerprint, "settings": digest, "code": code_fingerprint(trainable)}


def _asked(trainable: Trainable[Any], settings: Any, prepared: Prepared) -> Mapping[str, Train]:
    assert prepared.holdout is not None, "there is something to be judged on"
    return trainable.contenders(settings, prepared.search, prepared.holdout, available_memory())


def _trained(train: Train, units: NDArray[Any]) -> DailySeries:
    with tempfile.TemporaryDirectory(prefix="hpo-contender-") as folder:
        scored = train(Path(folder))
    if not np.array_equal(scored.units, units):
        raise ValueError(f"it was scored on {len(scored.units)} units that are not the {len(units)} of the holdout")
    return scored.series


def _kept(file: Path, basis: Mapping[str, str]) -> dict[str, DailySeries]:
    """Series by name; none where the file is missing, damaged or of something else."""
    try:
        kept = read_sealed(file)
    except (EnvironmentFault, FileNotFoundError):
        return {}
    if kept["of"] != basis:
        return {}
    return {
        name: {metric: np.array(values, dtype=np.float32) for metric, values in series.items()}
        for name, series in kept["series"].items()
    }


def _keep(file: Path, basis: Mapping[str, str], found: Mapping[str, DailySeries], say: Say) -> None:
    series = {
        name: {metric: np.asarray(values, dtype=np.float32).tolist() for metric, values in daily.items()}
        for name, daily in found.items()
    }
    try:
        write_sealed(file, {"of": basis, "series": series})
    except EnvironmentFault as error:
        say(f"Warning: the contenders are trained again next time. {error}")


def _reason(error: Exception) -> str:
    """The error in a line, without its full stop."""
    text = str(error) if isinstance(error, (HpoError, TrialFailure)) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()).rstrip(".")
