"""What needs no search beside a finished campaign: trained once, judged on the same holdout, kept with its runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import Campaign
from hpo.domain.errors import EnvironmentFault, HpoError
from hpo.domain.trainable import Prepared, Scored, Trainable
from hpo.domain.training import TrialFailure
from hpo.report.evidence import DailySeries, HoldoutEvidence
from hpo.runs.durable import read_sealed, write_sealed
from hpo.trainable.loading import load_trainable
from hpo.usecases.fingerprints import code_fingerprint
from hpo.usecases.host import Host
from hpo.usecases.records import Records

KEPT = "contenders.json"
"""Beside a campaign's slots: what contenders were trained with (`of`), and their `series` on the holdout by name."""

FOLDER = "contender"
"""Beside them: where one is trained; gone afterwards."""

Say = Callable[[str], None]
Train = Callable[[Path], Scored]


def with_contenders(
    records: Records, host: Host, campaign: Campaign, prepared: Prepared, measured: HoldoutEvidence, say: Say
) -> HoldoutEvidence:
    """What was measured, with the trainable's contenders on the same units. Those of an earlier report on the same
    data, settings and code are not trained again. One that fails is named in `faults`, and ends nothing."""
    trainable = load_trainable(campaign.spec.trainable)
    settings = trainable.parse(campaign.spec.config["search"]["trainer"])
    here = trainable.on_machine(settings, host.num_threads())
    assert prepared.holdout is not None, "there is something to be judged on"
    try:
        asked = trainable.contenders(here, prepared.search, prepared.holdout, host.available_memory())
    except Exception as error:  # a user's code may raise anything
        return replace(measured, faults=(f"There are no contenders: {_reason(error)}.",))
    if not asked:
        return measured
    with records.ledger.exclusive(f"contenders of {campaign.name}"):
        kept = Kept(records.runs(campaign.name), _basis(trainable, settings, prepared))
        faults = list(_train_missing(asked, kept, measured.dates, say))
    return replace(measured, contenders={n: kept.series[n] for n in asked if n in kept.series}, faults=tuple(faults))


class Kept:
    """Contenders' series by name, on disk with what they were trained with; none of something else."""

    def __init__(self, runs: Path, basis: Mapping[str, str]) -> None:
        self._file, self._basis, self.folder = runs / KEPT, basis, runs / FOLDER
        self.series = self._read()

    def add(self, name: str, series: DailySeries, say: Say) -> None:
        """Kept at once: a conclusion that is killed goes on with the next."""
        self.series[name] = {metric: np.asarray(values, dtype=np.float32) for metric, values in series.items()}
        plain = {
            name: {metric: values.tolist() for metric, values in daily.items()} for name, daily in self.series.items()
        }
        try:
            write_sealed(self._file, {"of": self._basis, "series": plain})
        except EnvironmentFault as error:
            say(f"Warning: the contender {name} is trained again next time. {error}")

    def _read(self) -> dict[str, DailySeries]:
        try:
            kept = read_sealed(self._file)
        except (EnvironmentFault, FileNotFoundError):
            return {}
        if kept["of"] != self._basis:
            return {}
        return {
            name: {metric: np.array(values, dtype=np.float32) for metric, values in series.items()}
            for name, series in kept["series"].items()
        }


def contenders_fault(runs: Path) -> str | None:
    """What is wrong with the file of a campaign's contenders, if there is one."""
    try:
        read_sealed(runs / KEPT)
    except EnvironmentFault:
        return f"{runs / KEPT} is damaged: the contenders are trained again"
    except FileNotFoundError:
        return None
    return None


def _train_missing(asked: Mapping[str, Train], kept: Kept, units: NDArray[Any], say: Say) -> Iterator[str]:
    """Train those that are not kept; a sentence for each that fails."""
    for name in [name for name in asked if name not in kept.series]:
        say(f"Training the contender {name}, which needs no search ...")
        shutil.rmtree(kept.folder, ignore_errors=True)  # of a conclusion that was killed
        try:
            kept.folder.mkdir()
            kept.add(name, _trained(asked[name], kept.folder, units), say)
        except Exception as error:  # a user's code may raise anything; the report says so
            yield f"The contender {name} failed and is left out: {_reason(error)}."
        finally:
            shutil.rmtree(kept.folder, ignore_errors=True)


def _basis(trainable: Trainable[Any], settings: Any, prepared: Prepared) -> dict[str, str]:
    """What decides a contender's series."""
    plain = json.dumps(trainable.plain(settings), sort_keys=True)
    digest = hashlib.sha256(plain.encode()).hexdigest()
    return {"data": prepared.fingerprint, "settings": digest, "code": code_fingerprint(trainable, settings)}


def _trained(train: Train, folder: Path, units: NDArray[Any]) -> DailySeries:
    scored = train(folder)
    if not np.array_equal(scored.units, units):
        raise ValueError(f"it was scored on {len(scored.units)} units that are not the {len(units)} of the holdout")
    return scored.series


def _reason(error: Exception) -> str:
    """The error in a line, without its full stop."""
    text = str(error) if isinstance(error, (HpoError, TrialFailure)) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()).rstrip(".")
