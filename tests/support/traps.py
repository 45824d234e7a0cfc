"""Accidents in the product as a user starts it. Nothing here is in the product: every Python process of a search, from
the supervisor down to the trial, finds the trap in its environment and lets the calls that are named points pass by it.

Imports only the standard library, because it is read before anything else.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "TIERTUNE_TEST_TRAP"
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Point:
    """A call: of `name` in `module`, before or after it; of all calls those whose first argument `is_meant`."""

    module: str
    name: str
    when: str
    is_meant: Callable[[Any], bool] = lambda first: True


LEDGER = "hpo.adapters.ledger.postgres_ledger"
CLIENT = "mlflow.tracking.client"
TRIAL = {
    "amid epoch": Point("trainer.training.folds", "FoldRun.step", "before"),
    "amid checkpoint": Point("pathlib", "Path.replace", "before", lambda path: path.name.startswith(".last.pt.")),
    "between checkpoint and report": Point("hpo.runs.folder", "Attempt.append_epoch", "before"),
    "between report and verdict": Point("hpo.adapters.processes.runners", "PipeReporter.report", "after"),
}
WORKER = {"between renewal and report": Point("hpo.engine.objective", "Conversation.on_epoch", "before")}
CONCLUSION = {
    "before champion": Point(LEDGER, "PostgresLedger.complete_campaign", "before"),
    "after champion": Point(LEDGER, "PostgresLedger.complete_campaign", "after"),
    "after opening the holdout": Point("hpo.report.holdout", "measure", "after"),
    "before registration": Point("hpo.adapters.mlflow.registry", "register", "before"),
    "before model version": Point(CLIENT, "MlflowClient.create_model_version", "before"),
    "after model version": Point(CLIENT, "MlflowClient.create_model_version", "after"),
    "after registration": Point("hpo.adapters.mlflow.registry", "register", "after"),
    "amid retention": Point("pathlib", "Path.unlink", "after", lambda path: path.name == "last.pt"),
}
"""What the supervisor passes when the last trial is done, in this order."""
REFIT = {
    "amid the refits": Point("trainer.training.folds", "FoldRun.train_epoch", "before"),
    "before the record": Point("hpo.usecases.refit.finalize", "_record", "before"),
    "after the record": Point("hpo.usecases.refit.finalize", "_record", "after"),
    "before the refitted are registered": Point("hpo.usecases.conclusion", "publish", "before"),
    "after the refitted are registered": Point("hpo.usecases.conclusion", "publish", "after"),
}
"""What `hpo finalize` passes, in this order."""
POINTS = {**TRIAL, **WORKER, **CONCLUSION, **REFIT}


@dataclass(frozen=True)
class Trap:
    """What the processes of one search do. log: where epochs are noted as they begin; struck: where accidents are; both
    as Arena reads them. At the nth passage of `point` `action` happens, once in all. skew: see `support.clocks`."""

    log: str
    struck: str
    point: str = ""
    action: str = ""
    nth: int = 1
    skew: float = 0.0

    def environment(self) -> dict[str, str]:
        path = [str(TESTS), str(TESTS / "support" / "site"), os.environ.get("PYTHONPATH", "")]
        return {VARIABLE: json.dumps(asdict(self)), "PYTHONPATH": os.pathsep.join(filter(None, path))}


def install() -> None:
    """Called by `sitecustomize`."""
    trap = Trap(**json.loads(os.environ[VARIABLE]))
    if trap.skew:
        import pandas  # noqa: F401  # derives a class from `datetime`, which must still be the real one

        from support import clocks

        clocks.shift(trap.skew)
    hooks: dict[str, list[Callable[[ModuleType], None]]] = {"trainer.training.loop": [_note_slot(trap)]}
    hooks["trainer.training.folds"] = [_note_epochs(trap)]
    if trap.point:
        point = POINTS[trap.point]
        hooks.setdefault(point.module, []).append(_surround(trap, point))
    if "pathlib" in hooks:
        hooks.pop("pathlib")[0](sys.modules["pathlib"])
    sys.meta_path.insert(0, _AfterImport(hooks))


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls a module's hooks when it has been imported."""

    def __init__(self, hooks: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self._hooks = hooks

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        hooks = self._hooks.pop(name, None)
        spec = importlib.util.find_spec(name) if hooks else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_hook(module: ModuleType) -> None:
            execute(module)
            for hook in hooks or ():
                hook(module)

        spec.loader.exec_module = execute_and_hook  # type: ignore[method-assign]
        return spec


def _replace(module: ModuleType, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    owner: Any = module
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, last)
    setattr(owner, last, functools.wraps(original)(make(original)))


def _surround(trap: Trap, point: Point) -> Callable[[ModuleType], None]:
    left = trap.nth

    def passing() -> None:
        nonlocal left
        left -= 1
        if left == 0 and not Path(trap.struck).exists():
            _append(trap.struck, trap.action)
            os.kill(os.getpid(), getattr(signal, f"SIG{trap.action}"))

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            is_meant = point.is_meant(args[0])
            if is_meant and point.when == "before":
                passing()
            result = original(*args, **kwargs)
            if is_meant and point.when == "after":
                passing()
            return result

        return call

    return lambda module: _replace(module, point.name, make)


_slot = ""


def _note_slot(trap: Trap) -> Callable[[ModuleType], None]:
    def make(fit: Callable[..., Any]) -> Callable[..., Any]:
        def call(config: Any, data: Any, reporter: Any, folder: Path, *more: Any) -> Any:
            global _slot
            _slot = folder.parent.name
            return fit(config, data, reporter, folder, *more)

        return call

    return lambda module: _replace(module, "fit", make)


def _note_epochs(trap: Trap) -> Callable[[ModuleType], None]:
    def make(train_epoch: Callable[..., Any]) -> Callable[..., Any]:
        def call(fold: Any, epoch: int, stop: Any) -> Any:
            _append(trap.log, f"{_slot} {epoch}")
            return train_epoch(fold, epoch, stop)

        return call

    return lambda module: _replace(module, "FoldRun.train_epoch", make)


def _append(file: str, line: str) -> None:
    with Path(file).open("a") as opened:
        opened.write(f"{line}\n")
