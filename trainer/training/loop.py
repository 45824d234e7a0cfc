"""Trains one configuration: folds in lockstep, an epoch at a time, saved before it is reported, resumable exactly."""

from __future__ import annotations

import difflib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.config import TrainConfig, TrainerConfig
from trainer.data.panel import TrainingData
from trainer.errors import CheckpointError, InputError
from trainer.metric_names import metric_names, own_kind
from trainer.metrics import check_own_metric, summarise
from trainer.reports import Ending, EpochReport, FitResult, Reporter, Verdict
from trainer.training import checkpoint
from trainer.training.device import DeviceWatch, memory_errors
from trainer.training.feed import Feed
from trainer.training.fitters import FITTERS
from trainer.training.fitters.starting import start_from
from trainer.training.folds import FoldRun
from trainer.training.labels import make_labels
from trainer.training.losses import check_own_term
from trainer.training.parallel.ranks import ALONE, Ranks
from trainer.training.precision import Precision, choose_precision

logger = logging.getLogger(__name__)

# What may differ between the run that wrote a checkpoint and the one that goes on from it.
MACHINE_SETTINGS = {"config.train.device", "config.train.devices", "config.train.threads"}


def fit(
    config: TrainerConfig,
    data: TrainingData,
    reporter: Reporter,
    folder: Path,
    start: Path | None = None,
    ranks: Ranks = ALONE,
) -> FitResult:
    """Train `config` on `data`, telling `reporter` every epoch; go on from `folder/last.pt` where there is one.

    At an epoch's end: validate, write `last.pt`, report, and, unless that is answered STOP, write `model.pt`: the
    weights that were just validated. A run that is resumed equals the uninterrupted one, bit for bit on the CPU. The
    global random state is left as it was. start: a `model.pt` whose weights are the first ones, where nothing lies in
    `folder` yet. ranks: the processes of a training over several devices, which all come here; `fit_prepared` starts
    them.

    Raises InputError (unknown monitor, several devices and one process, another configuration's folder, a fold without
    labels), NonFiniteError, DeviceMemoryError, MissingMetricError.
    """
    check_monitor(config.train, data.panel.horizons)
    check_own_term(config.loss)
    check_own_metric(config.train.own_metric)
    if config.train.devices != ranks.size:
        raise InputError(
            f"train.devices={config.train.devices} is trained by trainer.training.parallel.launch.fit_prepared, from a "
            "prepared panel; use it, or train.devices=1."
        )
    here = ranks.here(config.train)
    precision = choose_precision(here)
    logger.info("precision on %s: %s", precision.device, precision.reason)
    folder.mkdir(parents=True, exist_ok=True)
    with _threads(here.threads), _own_randomness(precision.device), memory_errors(precision.device):
        run = _Run(config, data, folder, precision, ranks)
        if start is not None:
            run.start_from(start)
        return run.drive(reporter)


class _Run:
    """The state of one training run between epochs."""

    def __init__(
        self, config: TrainerConfig, data: TrainingData, folder: Path, precision: Precision, ranks: Ranks
    ) -> None:
        self._config, self._folder, self._device, self._ranks = config, folder, precision.device, ranks
        self._panel = data.panel
        feed = Feed(data.panel, make_labels(data.panel, config.data), config.model, precision.device)
        fitter = FITTERS.get(config.model.kind, FoldRun)  # a user's own model is trained by gradients
        if ranks.size > 1:
            fitter = partial(FoldRun, ranks=ranks)
        self._folds = [fitter(config, feed, fold, i, precision) for i, fold in enumerate(data.folds)]
        self._reports: list[EpochReport] = []
        self._kept = 0  # the epoch in model.pt
        _seed(config.train.seed, ranks.rank)

    def start_from(self, model: Path) -> None:
        """Take over a run's weights; a checkpoint in the folder, if there is one, replaces them."""
        start_from(model, self._folds, self._panel, self._config.model.kind)

    def drive(self, reporter: Reporter) -> FitResult:
        """Resume, then train until the epochs are done, patience ends or the reporter says stop."""
        self._resume()
        for report in tuple(self._reports):
            if reporter.report(report) is Verdict.STOP:
                return self._result(Ending.STOPPED)
            self._keep(report.epoch)
        while (ending := self._ending()) is None:
            news = self._epoch(len(self._reports) + 1, lambda: reporter.poll() is Verdict.STOP)
            if news is None or reporter.report(news) is Verdict.STOP:
                return self._result(Ending.STOPPED)
            self._keep(news.epoch)
        return self._result(ending)

    def _epoch(self, epoch: int, stop: Callable[[], bool]) -> EpochReport | None:
        """Train and validate one epoch, and save it; None when stopped in its midst."""
        with DeviceWatch(self._device) as watch:
            report = self._trained(epoch, stop, watch)
        if report is not None:
            for fold in self._folds:
                fold.judged(report.score)
            self._save(report)
        return report

    def _trained(self, epoch: int, stop: Callable[[], bool], watch: DeviceWatch) -> EpochReport | None:
        started = time.perf_counter()
        trained: list[dict[str, float]] = []
        for fold in self._folds:
            scalars = fold.train_epoch(epoch, stop)
            if scalars is None:
                return None
            trained.append(scalars)
        rate = sum(scalars.pop("samples") for scalars in trained) / (time.perf_counter() - started)
        validated = [fold.validate() for fold in self._folds]
        metrics = {
            **_mean_over_folds("train/", trained),
            **_mean_over_folds("valid/", [self._summary(scalars, daily) for scalars, daily in validated]),
            "system/samples_per_second": rate,
            **watch.metrics(),
        }
        daily = {name: np.concatenate([series[name] for _, series in validated]) for name in validated[0][1]}
        score = metrics[f"valid/{self._config.train.monitor}"]
        return EpochReport(epoch, score, metrics, daily, time.perf_counter() - started)

    def _summary(self, scalars: Mapping[str, float], daily: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        return {**scalars, **summarise(daily, self._config.train.monitor)}

    def _save(self, report: EpochReport) -> None:
        """Add the epoch to the history and write `last.pt`."""
        self._reports.append(report)
        random, *others = self._ranks.collected(_random_state(self._device))
        if not self._ranks.leads:
            return
        state = {
            **self._identity(),
            "folds": [fold.state_dict() for fold in self._folds],
            "random": random,
            "reports": [_packed(report) for report in self._reports],
        }
        if others:
            state["random_of_others"] = others
        checkpoint.save_last(state, self._folder)

    def _keep(self, epoch: int) -> None:
        """Write `model.pt` of an epoch that the reporter took; of one before a resume it was written then."""
        if epoch == len(self._reports):
            if self._ranks.leads:
                kept = {"epoch": epoch, "weights": [fold.weights() for fold in self._folds]}
                checkpoint.save({**self._identity(), **kept}, self._folder / checkpoint.MODEL)
            self._kept = epoch

    def _resume(self) -> None:
        """Take up the newest whole checkpoint of the folder, if any."""
        found = checkpoint.load_newest(self._folder)
        if found is None:
            return
        path, state = found
        _refuse_another_run(path, state, self._identity())
        for fold, saved in zip(self._folds, state["folds"], strict=True):
            fold.load_state_dict(saved)
        self._reports = [_unpacked(packed) for packed in state["reports"]]
        self._kept = _kept_epoch(self._folder)
        randoms = [state["random"], *state.get("random_of_others", ())]
        if self._ranks.rank < len(randoms):  # else the run was begun with fewer devices
            _set_random_state(randoms[self._ranks.rank], self._device)
        logger.info("going on from %s after epoch %d", path, len(self._reports))

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint is of."""
        return {
            "config": self._config.model_dump(mode="json"),
            "feature_names": list(self._panel.feature_names),
            "horizons": list(self._panel.horizons),
            "panel": f"{len(self._panel.dates)} days, {len(self._panel.symbols)} stocks",
            "last_day": str(self._panel.dates[-1]),
        }

    def _trailing_score(self, epoch: int) -> float:
        recent = self._reports[max(0, epoch - self._config.train.score_epochs) : epoch]
        return math.fsum(report.score for report in recent) / len(recent)

    def _ending(self) -> Ending | None:
        epoch, patience = len(self._reports), self._config.train.patience
        if epoch >= self._config.num_epochs:
            return Ending.COMPLETED
        if not epoch or not patience:
            return None
        best = max(range(1, epoch + 1), key=self._trailing_score)
        return Ending.EARLY_STOPPED if epoch - best >= patience else None

    def _result(self, ending: Ending) -> FitResult:
        score = self._trailing_score(len(self._reports)) if self._reports else math.nan
        return FitResult(ending, tuple(self._reports), score, self._kept, self._folds[0].num_parameters)


def _kept_epoch(folder: Path) -> int:
    """The epoch in `model.pt`; 0 where there is no whole one."""
    try:
        return int(checkpoint.load(folder / checkpoint.MODEL)["epoch"])
    except (FileNotFoundError, CheckpointError):
        return 0


def check_monitor(config: TrainConfig, horizons: Sequence[int]) -> None:
    """Raise InputError, with a suggestion, unless validation produces a metric of this name."""
    names, monitor = [str(name) for name in metric_names(horizons, own_kind(config.own_metric))], config.monitor
    if monitor not in names:
        close = difflib.get_close_matches(monitor, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(names)}."
        raise InputError(f"train.monitor={monitor!r} is not a validation metric of this run; {hint}")


def _refuse_another_run(path: Path, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise InputError where the checkpoint is of another configuration or panel, naming the first difference."""
    saved, ours = (_flat({name: part[name] for name in identity}) for part in (state, identity))
    for name in sorted(saved.keys() | ours.keys()):
        if name not in MACHINE_SETTINGS and saved.get(name) != ours.get(name):
            raise InputError(
                f"{path.parent} holds a run with {name.removeprefix('config.')}={saved.get(name)}, not "
                f"{ours.get(name)}; choose another folder, or remove it to start anew."
            )


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted path."""
    if not isinstance(value, Mapping):
        return {path: value}
    leaves: dict[str, Any] = {}
    for key, inner in value.items():
        leaves |= _flat(inner, f"{path}.{key}" if path else key)
    return leaves


def _mean_over_folds(prefix: str, folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every scalar that all folds have."""
    names = [name for name in folds[0] if all(name in fold for fold in folds)]
    return {prefix + name: math.fsum(fold[name] for fold in folds) / len(folds) for name in names}


def _packed(report: EpochReport) -> dict[str, Any]:
    """A report as tensors and plain values."""
    daily = {name: torch.from_numpy(np.array(series)) for name, series in report.daily.items()}
    return {**vars(report), "metrics": dict(report.metrics), "daily": daily}


def _unpacked(packed: Mapping[str, Any]) -> EpochReport:
    return EpochReport(**{**packed, "daily": {name: series.numpy() for name, series in packed["daily"].items()}})


def _seed(seed: int, rank: int) -> None:
    """Let every process of a training draw numbers of its own."""
    torch.manual_seed(seed if not rank else int(np.random.SeedSequence([seed, rank]).generate_state(1)[0]))


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
