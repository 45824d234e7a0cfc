"""A training by itself, off the search: the same trial object, with a reporter that prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml
from pydantic import ValidationError

from hpo.domain.errors import HpoError
from hpo.domain.settings import first_problem, flatten, nest
from hpo.domain.trainable import Trainable
from hpo.domain.training import Decision, EpochReport, FitResult, TrialFailure
from hpo.trainable.loading import as_trainable
from hpo.trainable.states import LAST


class Printer:
    """Prints every epoch and never stops a training."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def report(self, report: EpochReport) -> Decision:
        scalars = "  ".join(f"{name} {value:.6g}" for name, value in report.metrics.items())
        self._say(f"epoch {report.epoch:>4}  {scalars}")
        return Decision.CONTINUE

    def poll(self) -> Decision:
        return Decision.CONTINUE

    def decide(self) -> Decision:
        return Decision.CONTINUE


def run_alone(found: Any, arguments: Sequence[str] | None = None) -> None:
    """Train with the settings of the command line, as in `python my_file.py epochs=3 folder=out seed=1`.

    found: a function of (settings, trial) or a Trainable. folder: where checkpoints go (`.hpo/single/<time>`); a
    training that finds some there goes on from them. Ends the process with code 2 where the settings are wrong.
    """
    try:
        trainable = as_trainable(found)
        given = dict(word.partition("=")[::2] for word in (sys.argv[1:] if arguments is None else arguments))
        folder = Path(given.pop("folder", Path(".hpo") / "single" / f"{datetime.now():%Y%m%d-%H%M%S}"))
        seed = int(given.pop("seed", 0))
        result = _trained(trainable, {key: yaml.safe_load(value) for key, value in given.items()}, folder, seed)
    except (HpoError, TrialFailure) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    sys.stdout.write(f"score {result.score:.6g}, {result.ending.value}: {folder}\n")


def _trained(trainable: Trainable[Any], given: dict[str, Any], folder: Path, seed: int) -> FitResult:
    derived = {name: seed for name, source in trainable.follows.items() if source == "seed"}
    known = flatten(trainable.plain(trainable.parse({})))
    for name in given:
        if name not in known:
            raise TrialFailure("settings", f"unknown setting '{name}': there are {', '.join(known)}.")
    try:
        settings = trainable.parse(nest({**given, **derived}))
    except ValidationError as error:
        raise TrialFailure("settings", f"{first_problem(error)[1]}.") from None
    folder.mkdir(parents=True, exist_ok=True)
    prepared = trainable.prepare(settings, folder / "data")
    if not (folder / LAST).exists():
        trainable.check_memory(settings, prepared.search, psutil.virtual_memory().available)
    printer = Printer(lambda line: print(line, flush=True))  # noqa: T201 - a program of the user's prints
    return trainable.fit(settings, prepared.search, printer, folder, seed=seed)
