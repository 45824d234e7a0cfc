"""The folder of a single training: what a search's trial leaves, in the same files.

config.json            resolved settings
run.json               when and from what it was started
metrics.jsonl          one line an epoch
daily/epoch-0003.npz   daily validation series
train.log              what was printed and logged
last.pt previous.pt model.pt
result.json            how it ended; not there while it can go on
holdout.json           each opening of the holdout for this run, with what was seen
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import TrainerConfig
from trainer.errors import CheckpointError, InputError
from trainer.reports import EpochReport, FitResult, Reporter, Verdict
from trainer.training import checkpoint

FREE_TO_CHANGE = ("train.epochs", "train.patience", "train.device", "train.threads")
"""What may differ when a run is resumed."""


class RunFolder:
    """The files of one run; the training itself writes the checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def existing(cls, folder: Path) -> RunFolder:
        """Raises InputError where there is no run."""
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} is no folder of a training: it holds no config.json.")
        return cls(folder)

    @property
    def model(self) -> Path:
        """The weights at the end of the last epoch. Raises InputError where no epoch was finished."""
        path = self.folder / checkpoint.MODEL
        if not path.is_file():
            raise InputError(f"{self.folder} holds no {checkpoint.MODEL}: its training has not finished an epoch.")
        return path

    def start(self, config: TrainerConfig, origin: Path | None) -> None:
        """Say what is trained here. origin: of the weights it starts from."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "config.json", config.model_dump(mode="json"))
        if not (self.folder / "run.json").exists():
            _write(self.folder / "run.json", {"started_at": _now(), "from": origin and str(origin.absolute())})
        (self.folder / "result.json").unlink(missing_ok=True)

    def epochs(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; what a power cut tore is passed over."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def add(self, report: EpochReport) -> None:
        """Write down an epoch, unless it stands there."""
        known = self.epochs()
        if report.epoch <= len(known) and known[report.epoch - 1]["score"] == report.score:
            return
        names, values = list(report.daily), np.array(list(report.daily.values()), np.float32)
        daily = self.folder / "daily" / f"epoch-{report.epoch:04d}.npz"
        daily.parent.mkdir(exist_ok=True)
        np.savez(daily, allow_pickle=False, names=np.array(names, np.str_), values=values)
        facts = {"epoch": report.epoch, "time": _now(), "score": report.score, "seconds": report.seconds}
        lines = [*known[: report.epoch - 1], {**facts, "metrics": dict(report.metrics)}]
        _replace(self.folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def finish(self, outcome: str, result: FitResult | None = None, reason: str | None = None) -> None:
        """Write how it ended. outcome: `complete` or `failed`."""
        said = {
            "outcome": outcome,
            "score": result.score if result else None,
            "last_epoch": result.last_epoch if result else None,
            "num_parameters": result.num_parameters if result else None,
            "reason": reason,
            "finished_at": _now(),
        }
        _write(self.folder / "result.json", said)

    def opened_holdout(self, seen: Mapping[str, float]) -> int:
        """Write down that the holdout was looked at; how often it was, this time included."""
        file = self.folder / "holdout.json"
        before = json.loads(file.read_text(encoding="utf-8"))["openings"] if file.exists() else []
        _write(file, {"openings": [*before, {"time": _now(), "metrics": dict(seen)}]})
        return len(before) + 1

    @contextmanager
    def logging(self) -> Iterator[None]:
        """While open, what the trainer logs and `Recorder` hears goes to train.log too."""
        handler = logging.FileHandler(self.folder / "train.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger = logging.getLogger("trainer")
        before, logger.level = logger.level, logging.INFO
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)
            handler.close()


class Recorder:
    """Writes every epoch down before it is shown."""

    def __init__(self, run: RunFolder, shown: Reporter) -> None:
        self._run, self._shown = run, shown

    def report(self, report: EpochReport) -> Verdict:
        """Keep one epoch."""
        self._run.add(report)
        logging.getLogger(__name__).info("epoch %d: score %+.6f, %.1f s", report.epoch, report.score, report.seconds)
        return self._shown.report(report)

    def poll(self) -> Verdict:
        """As who is shown the epochs answers."""
        return self._shown.poll()


def refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """A run goes on as it was started, apart from its length and the machine. before, now: flat settings.

    Raises InputError naming the first other difference.
    """
    for name, value in now.items():
        if name not in FREE_TO_CHANGE and before.get(name) != value:
            raise InputError(
                f"{folder} was trained with {name}={before.get(name)}, and goes on with that; only "
                f"{', '.join(FREE_TO_CHANGE)} may change. To start from its weights instead: --from {folder}."
            )


def lengthen(folder: Path, config: TrainerConfig) -> str:
    """Let the checkpoint of a run go on under `config`, which differs in its length alone; what that does to the
    learning rate, empty where the length is the same.

    Raises InputError where there is no checkpoint, or it has more epochs than `config` asks for.
    """
    found = checkpoint.load_newest(folder)
    if found is None:
        raise InputError(f"{folder} holds no checkpoint to go on from: its training has not finished an epoch.")
    _, state = found
    before, now, done = state["config"]["train"]["epochs"], config.train.epochs, len(state["reports"])
    if now < done:
        raise InputError(f"{folder} has trained {done} epochs; train.epochs={now} is less, give {done} or more.")
    if state["config"]["train"]["patience"] == config.train.patience and before == now:
        return ""
    state["config"]["train"] |= {"epochs": now, "patience": config.train.patience}
    checkpoint.save_last({name: value for name, value in state.items() if name != "format"}, folder)
    if before == now or config.optim.schedule in ("constant", "plateau"):
        return ""
    return (
        f"epochs 1 to {done} had the learning rates of a schedule over {before} epochs, the others have those of one "
        f"over {now}: the rate jumps, and the end is not that of a training of {now} epochs from the start."
    )


def free_folder(home: Path, now: str) -> Path:
    """A folder of its own for a run that starts now, `<time>` or `<time>-2`, made."""
    for number in range(1, 1000):
        folder = home / "single" / (now if number == 1 else f"{now}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise CheckpointError(f"{home / 'single'} holds a thousand runs of this second; wait for the next one.")


def mean_of_last(lines: Sequence[Mapping[str, Any]], count: int, name: str) -> float | None:
    """A metric's mean over the last epochs, None where one lacks it."""
    values = [line["metrics"].get(name) for line in lines[-count:]]
    return (
        None
        if not values or None in values
        else float(np.mean([float(value) for value in values if value is not None]))
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _write(path: Path, value: Mapping[str, Any]) -> None:
    _replace(path, json.dumps(value, indent=2))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
