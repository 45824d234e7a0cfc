"""The embedded trainer behind the contract of a trainable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import trainer
from hpo.domain.campaign import DEFAULT_TRAINABLE
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.metric import Metric
from hpo.domain.trainable import Length, Predicted, Prepared, Progress, Scored, Serving, Trainable
from hpo.domain.training import FitResult, Reporter, TrialFailure
from hpo.ranking import metrics, serving
from hpo.ranking.space import check_heads, check_own, effective
from trainer.config import TrainerConfig, own_files
from trainer.errors import CacheFault, DoesNotFitError, TrainerError, TrainingFailure

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from search_spaces import Space

BUILT_IN = "planted:"
"""Beginning of sources that are generated, and no path."""


class Ranker(Trainable[TrainerConfig]):
    """Ranks stocks every day, trained by `trainer`."""

    name = DEFAULT_TRAINABLE
    schema = TrainerConfig
    shared = (
        "data.",
        "model.window",
        "train.seed",
        "train.device",
        "train.devices",
        "train.threads",
        "train.monitor",
        "train.own_metric",
        "train.score_epochs",
    )
    follows = MappingProxyType({"train.monitor": "objective", "train.seed": "seed"})
    averages = True
    brings = ("model.kind",)
    source = "data.source"
    files = ("data.membership",)
    # Every torch optimizer imports torch._dynamo, which takes a second.
    preload = (
        "torch",
        "torch._dynamo",
        "trainer.training.loop",
        "trainer.training.memory",
        "trainer.training.parallel.launch",
        "trainer.data",
        "hpo.ranking.ranker",
        "hpo.ranking.fitting",
    )
    packages = ("torch", "numpy", "pytorch_optimizer", "lightgbm")

    def length(self, settings: TrainerConfig) -> Length:
        return Length(settings.num_epochs, settings.train.score_epochs)

    def metrics(self, settings: TrainerConfig) -> Sequence[Metric]:
        return metrics.metrics_of(settings.data.horizons, settings.train.own_metric)

    def check_space(self, space: Space, settings: TrainerConfig) -> None:
        with refusing():
            check_own(settings)
        check_heads(space, settings)

    def effective(self, settings: TrainerConfig) -> Mapping[str, Any]:
        return effective(settings)

    def choices(self, group: str) -> Mapping[str, Mapping[str, Any]]:
        from trainer.tools.groups import chosen, named

        with refusing():
            return {name: chosen(group, [name]) for name in named(group)}

    def resolve_source(self, source: str) -> str:
        return source if source.startswith(BUILT_IN) else super().resolve_source(source)

    def on_machine(self, settings: TrainerConfig, num_threads: int) -> TrainerConfig:
        if settings.train.threads:
            return settings
        return settings.model_copy(update={"train": settings.train.model_copy(update={"threads": num_threads})})

    def describe_device(self, settings: TrainerConfig | None = None) -> str:
        from hpo.ranking.fitting import describe_device
        from trainer.config import TrainerConfig

        with refusing():
            return describe_device(settings or TrainerConfig())

    def num_devices(self, settings: TrainerConfig) -> int:
        return settings.train.devices

    def check_devices(self, settings: TrainerConfig) -> None:
        if settings.train.devices > 1:
            from trainer.training.parallel.launch import check_devices

            with refusing():
                check_devices(settings)

    def prepare(self, settings: TrainerConfig, cache: Path, progress: Progress | None = None) -> Prepared:
        from trainer.data import prepare, summary_lines
        from trainer.data.summary import split_lines

        with refusing():
            made = prepare(settings.data, settings.model.window, cache, progress)
        split = tuple(split_lines(made.summary))
        return Prepared(**vars(made), lines=tuple(summary_lines(made.summary)), split=split)

    def data_faults(self, cache: Path, fingerprint: str) -> Sequence[str]:
        from trainer.data import verify
        from trainer.data.prepare import panel_folder

        folder = panel_folder(cache, fingerprint)
        return verify(folder) if folder.exists() else ()

    def fit(self, settings: TrainerConfig, data: Path, reporter: Reporter, folder: Path, *, seed: int = 0) -> FitResult:
        from hpo.ranking.fitting import fit

        with failing():
            return fit(settings, data, reporter, folder)

    def check_memory(self, settings: TrainerConfig, data: Path, limit: int) -> None:
        from hpo.ranking.fitting import check_memory

        with failing():
            check_memory(settings, data, limit)

    def memory_needed(self, settings: TrainerConfig, data: Path) -> int | None:
        from hpo.ranking.fitting import memory_needed

        with refusing():
            return memory_needed(settings, data)

    def is_whole(self, checkpoint: Path) -> bool:
        from trainer.training.checkpoint import is_whole

        return is_whole(checkpoint)

    def doubt(self, settings: TrainerConfig, metric: str, score: float) -> str:
        return "" if settings.data.source.startswith(BUILT_IN) else metrics.doubt(metric, score)

    def derive(self, daily: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        return metrics.with_derived(daily)

    def validation_units(self, data: Path) -> NDArray[Any]:
        import numpy as np

        from trainer.data import open_training

        with refusing():
            opened = open_training(data)
        return np.concatenate([opened.panel.dates[fold.valid.start : fold.valid.stop] for fold in opened.folds])

    def score(self, checkpoint: Path, part: Path, *, details: bool = False) -> Scored:
        from hpo.ranking.holdout import score

        with refusing():
            return score(checkpoint, part, details=details)

    def contenders(
        self, settings: TrainerConfig, data: Path, holdout: Path, memory: int
    ) -> Mapping[str, Callable[[Path], Scored]]:
        from hpo.ranking.contenders import Ground, contenders

        with refusing():
            found = contenders(Ground(settings, data, holdout, memory))
        return {name: failing()(train) for name, train in found.items()}

    def refit(self, settings: TrainerConfig, prepared: Prepared, known: int, num_epochs: int, folder: Path) -> Path:
        from hpo.ranking.refitting import refit

        with failing():
            return refit(settings, prepared, known, num_epochs, folder)

    def agreement(self, first: Path, second: Path, holdout: Path) -> float:
        from hpo.ranking.refitting import agreement

        with refusing():
            return agreement(first, second, holdout)

    def predict(self, checkpoint: Path, source: Path | pd.DataFrame, *, everything: bool = False) -> Predicted:
        with refusing():
            return serving.predict(checkpoint, source, everything=everything)

    def join(self, members: Mapping[str, Path], weights: Mapping[str, float], target: Path) -> None:
        from trainer.scoring.committee import write_manifest

        write_manifest(target, members, weights)

    def portable(self, checkpoint: Path, folder: Path) -> Path:
        from trainer.scoring.committee import copy_committee, is_manifest

        if not is_manifest(checkpoint):
            return checkpoint
        with refusing():
            copy_committee(checkpoint, folder)
        return folder

    def serving(self, checkpoint: Path) -> Serving:
        with refusing():
            return serving.serving(checkpoint)

    def sections(self, evidence: Any, findings: Any) -> Sequence[Any]:
        from hpo.ranking.sections import build

        section = build(evidence, findings)
        return () if section is None else (section,)

    def code(self) -> Sequence[Path]:
        """The trainer's files, less those that only show what others compute."""
        root = Path(trainer.__file__).parent
        shown = (root / "tools", root / "__main__.py")
        files = sorted(root.rglob("*.py"), key=lambda file: file.relative_to(root).as_posix())
        own = Path(__file__).with_name("fitting.py")
        return (*(file for file in files if not any(part in (file, *file.parents) for part in shown)), own)

    def code_named_by(self, settings: TrainerConfig) -> Sequence[Path]:
        return own_files(settings)


@contextmanager
def refusing() -> Iterator[None]:
    """What the trainer refuses is the user's to change."""
    try:
        yield
    except CacheFault as fault:
        raise EnvironmentFault(str(fault)) from fault
    except TrainerError as error:
        raise UsageError(str(error)) from error


@contextmanager
def failing() -> Iterator[None]:
    """What ends a training ends the trial."""
    try:
        yield
    except CacheFault as fault:
        raise EnvironmentFault(str(fault)) from fault
    except DoesNotFitError as error:
        raise TrialFailure(error.reason, str(error), error.excess) from error
    except TrainingFailure as error:
        raise TrialFailure(error.reason, str(error)) from error
