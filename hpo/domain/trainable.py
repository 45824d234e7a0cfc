"""What a campaign trains: the one contract between the search and a model, its data and its metrics."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

from hpo.domain.errors import UsageError
from hpo.domain.metric import Metric
from hpo.domain.training import FitResult, Reporter, TrialFailure

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from search_spaces import Space

S = TypeVar("S")

Progress = Callable[[str, float], None]
"""Called with the name of a step and its done fraction, 0 to 1."""


@dataclass(frozen=True)
class Length:
    """num_epochs: of a full training. score_epochs: the last epochs whose mean is the trial's score."""

    num_epochs: int
    score_epochs: int = 1


@dataclass(frozen=True)
class Prepared:
    """Where prepared data lie.

    search: what trials are given. holdout: what is opened once the champion is chosen; None: there is none.
    fingerprint: hex digest of the content and of every setting that shapes it. warnings: sentences for people.
    summary: plain JSON values for the report. lines: what was recognised in the data, for people. split: which units
    each part has, for people.
    """

    search: Path
    holdout: Path | None
    fingerprint: str
    warnings: tuple[str, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    split: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """A checkpoint on a part of the data.

    units: [D], ascending: days, or positions. series: metric name -> [D], higher is better, NaN where a unit has no
    value. ceiling: the series of the best possible scores, where they are known. details: what only the trainable's
    own report sections read.
    """

    units: NDArray[Any]
    series: Mapping[str, NDArray[np.float32]]
    ceiling: Mapping[str, NDArray[np.float32]] | None = None
    details: Any = None


@dataclass(frozen=True)
class Predicted:
    """Scores of new data: the table, and what a person is told about it."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Serving:
    """What a registered model asks for, gives and needs.

    inputs, outputs: column -> `string`, `datetime`, `double`, or None for anything. example: column -> values.
    packages: distributions that the loaded model imports. code: the modules and packages to send along, those that
    are not installed.
    """

    inputs: Mapping[str, str | None]
    outputs: Mapping[str, str | None]
    example: Mapping[str, Sequence[Any]]
    packages: tuple[str, ...]
    code: tuple[Path, ...] = ()


class Trainable(ABC, Generic[S]):
    """Settings, data, training, metrics and scores of one kind of model.

    One object serves a whole process and keeps nothing between calls. Everything but `schema` and `fit` has a
    default. Settings travel as plain JSON (`plain`) and are validated again where they arrive (`parse`).
    """

    name: str = ""
    """What the campaign calls it: `ranker` or an import path. Set by whoever loads it."""
    schema: type[S]
    """Class of the settings: pydantic or dataclass, every field with a default."""
    shared: Sequence[str] = ()
    """Settings (dotted; `data.` for a whole section) that all trials of a campaign share: they cannot be searched."""
    follows: Mapping[str, str] = MappingProxyType({})
    """Settings that the search derives: dotted setting -> `seed` or `objective`."""
    averages: bool = False
    """Whether the scores of several checkpoints can be averaged by their ranks (see `join`); if not, a campaign ends
    with its single champion."""
    brings: Sequence[str] = ()
    """Settings (dotted) whose value decides which other settings there are."""
    source: str | None = None
    """The setting that says where the data come from (`--data`)."""
    files: Sequence[str] = ()
    """Other settings that name a file, whose content is part of `Prepared.fingerprint` and whose place is not."""
    preload: Sequence[str] = ()
    """Modules that the parent of all trial processes imports once."""
    packages: Sequence[str] = ()
    """Distributions whose versions can change a result."""

    @property
    def path_settings(self) -> tuple[str, ...]:
        """All settings that say where something lies."""
        return (*((self.source,) if self.source is not None else ()), *self.files)

    # Settings

    def parse(self, values: Mapping[str, Any]) -> S:
        """Validated settings; what values lack is taken from the defaults. Raises pydantic.ValidationError."""
        return TypeAdapter(self.schema).validate_python(dict(values))

    def plain(self, settings: S) -> dict[str, Any]:
        """Settings as plain JSON, complete."""
        tree: dict[str, Any] = TypeAdapter(self.schema).dump_python(settings, mode="json")
        return tree

    @abstractmethod
    def length(self, settings: S) -> Length:
        """How long a training is."""

    def metrics(self, settings: S) -> Sequence[Metric]:
        """What a campaign may maximise; the first is the default objective."""
        return (Metric("score"),)

    def check_space(self, space: Space, settings: S) -> None:
        """Raise UsageError for a space whose parts contradict each other. settings: with the space's defaults."""
        return

    def effective(self, settings: S) -> Mapping[str, Any]:
        """What of the settings a training reads: two settings that agree in it train alike."""
        return self.plain(settings)

    def choices(self, group: str) -> Mapping[str, Mapping[str, Any]]:
        """Nested settings that go by a name (`trainer/GROUP=NAME`), by that name; empty: there is no such group."""
        return {}

    def resolve_source(self, source: str) -> str:
        """A source as every process will find it: an absolute path."""
        return str(Path(source).expanduser().absolute())

    def on_machine(self, settings: S, num_threads: int) -> S:
        """Settings with what depends on this machine settled, so that training again gives the same bits."""
        return settings

    def describe_device(self, settings: S | None = None) -> str | None:
        """What a training here would run on and in which arithmetic, None where the trainable does not know. settings:
        of the training; None: the defaults."""
        return None

    def num_devices(self, settings: S) -> int:
        """Devices of one machine that a training takes side by side: from the current one on."""
        return 1

    def check_devices(self, settings: S) -> None:
        """Raise UsageError where this machine has fewer."""
        return

    # Data

    @abstractmethod
    def prepare(self, settings: S, cache: Path, progress: Progress | None = None) -> Prepared:
        """Make the data ready, or find them made. Several processes may call at once. Raises UsageError."""

    def data_faults(self, cache: Path, fingerprint: str) -> Sequence[str]:
        """What is wrong with prepared data in the cache, a sentence each; nothing where there are none."""
        return ()

    # Training

    @abstractmethod
    def fit(self, settings: S, data: Path, reporter: Reporter, folder: Path, *, seed: int = 0) -> FitResult:
        """Train, tell the reporter every epoch, and go on from what lies in the folder.

        Checkpoints are `last.pt` and `previous.pt` (to go on from) and `model.pt` (the state after the last epoch, to
        score with), each whole or not there. data: `Prepared.search`. Raises TrialFailure.
        """

    def check_memory(self, settings: S, data: Path, limit: int) -> None:
        """Raise TrialFailure (`does_not_fit`, with its excess) where a training needs more than limit bytes."""
        needed = self.memory_needed(settings, data)
        if needed is not None and needed > limit:
            said = f"it needs about {needed / 2**30:.2f} GiB of memory where {limit / 2**30:.2f} GiB are available."
            raise TrialFailure("does_not_fit", said, needed / max(1, limit) - 1)

    def memory_needed(self, settings: S, data: Path) -> int | None:
        """Peak bytes of a training on `Prepared.search`, None where they are not known before it starts."""
        return None

    def is_whole(self, checkpoint: Path) -> bool:
        """Whether a checkpoint's bytes are those that were written. Raises FileNotFoundError."""
        return True

    # Afterwards

    def doubt(self, settings: S, metric: str, score: float) -> str:
        """Why a score is too good to be believed: a sentence, said before any result. Empty: it is not."""
        return ""

    def derive(self, daily: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        """An epoch's series with those that follow from them, so that each metric has its own: one whose mean is the
        metric's value (a mean over horizons, a ratio)."""
        return daily

    def validation_units(self, data: Path) -> NDArray[Any] | None:
        """The units of the validation series, where they have names of their own; None: they are only counted."""
        return None

    def score(self, checkpoint: Path, part: Path, *, details: bool = False) -> Scored | None:
        """A `model.pt` on the holdout; None where the trainable cannot score. details: fill the ceiling and the details
        too."""
        return None

    def contenders(self, settings: S, data: Path, holdout: Path, memory: int) -> Mapping[str, Callable[[Path], Scored]]:
        """What needs no search and is judged beside the champion: name -> trains in an empty folder and is scored.

        Each trains on `data` (`Prepared.search`) alone, in at most `memory` bytes, and gives its series on the units of
        `score`. Asked for after the champion is chosen; one that raises is left out, and the report says so.
        """
        return {}

    def refit(self, settings: S, prepared: Prepared, known: int, num_epochs: int, folder: Path) -> Path:
        """Train again, in `folder`, on all that is known before unit `known` of the holdout (0: nothing of it), for
        num_epochs epochs of the length that `settings` say; the checkpoint. Goes on from what the folder holds, and
        trains nothing where it holds the finished checkpoint. Labels that end at that unit or later are not known.
        """
        raise UsageError(f"The trainable '{self.name}' cannot be trained again on more data: give it a method `refit`.")

    def agreement(self, first: Path, second: Path, holdout: Path) -> float:
        """How far two checkpoints agree on the holdout, 1 where they say the same."""
        raise UsageError(f"The trainable '{self.name}' cannot compare two checkpoints: give it a method `agreement`.")

    def predict(self, checkpoint: Path, source: Path | pd.DataFrame, *, everything: bool = False) -> Predicted:
        """Scores of new data, a file or a frame. everything: also of what the training has seen."""
        raise UsageError(f"The trainable '{self.name}' cannot predict: give it a method `predict`.")

    def join(self, members: Mapping[str, Path], weights: Mapping[str, float], target: Path) -> None:
        """Make several checkpoints one: write `target`, which `score`, `predict` and `serving` take like a checkpoint.
        Only asked for where `averages`."""
        raise UsageError(f"The trainable '{self.name}' cannot average models: give it a method `join`.")

    def portable(self, checkpoint: Path, folder: Path) -> Path:
        """The checkpoint, or what `join` wrote, as one file or folder that may be taken elsewhere. folder: empty, for
        what has to be made for it."""
        return checkpoint

    def serving(self, checkpoint: Path) -> Serving | None:
        """How a registered model is asked; None: it is not registered."""
        return None

    def sections(self, evidence: Any, findings: Any) -> Sequence[Any]:
        """Sections (`hpo.report.document`) of its own for the report, from `CampaignEvidence` and `Findings`."""
        return ()

    def code(self) -> Sequence[Path]:
        """Files whose content decides results."""
        file = inspect.getsourcefile(type(self))
        return () if file is None else (Path(file),)

    def code_named_by(self, settings: S) -> Sequence[Path]:
        """Files of the user's that the settings name, whose content decides results too."""
        return ()
