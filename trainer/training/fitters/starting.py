"""The weights of a finished run as the start of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.data.panel import Panel
from trainer.errors import InputError
from trainer.training import checkpoint
from trainer.training.folds import FoldRun


def start_from(model: Path, folds: Sequence[Any], panel: Panel, kind: str) -> None:
    """Give each fold the weights of the same fold of a run's `model.pt`; optimizer and schedule start anew.

    Raises InputError where the other run has another kind of model, features, horizons, folds or shapes, naming the
    first difference; CheckpointError, FileNotFoundError.
    """
    state = checkpoint.load(model)
    if not all(isinstance(fold, FoldRun) for fold in folds):
        raise InputError(f"--from: model.kind={kind} is not trained by gradients and starts from nothing.")
    ours = {
        "model.kind": kind,
        "features": list(panel.feature_names),
        "horizons": list(panel.horizons),
        "folds": len(folds),
    }
    theirs = {
        "model.kind": state["config"]["model"]["kind"],
        "features": state["feature_names"],
        "horizons": state["horizons"],
        "folds": len(state["weights"]),
    }
    for what, value in ours.items():
        if theirs[what] != value:
            raise InputError(
                f"--from: {model.parent} has the {what} {theirs[what]}, this run {value}; make them equal."
            )
    for fold, weights in zip(folds, state["weights"], strict=True):
        _check_shapes(model.parent, weights, fold.model.state_dict())
        fold.model.load_state_dict(weights)


def _check_shapes(run: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    for name in sorted(theirs.keys() | ours.keys()):
        shapes = [list(side[name].shape) if name in side else None for side in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"--from: the weights of {run} do not fit: '{name}' is {shapes[0] or 'absent'} there and "
                f"{shapes[1] or 'absent'} here; give the settings of `model` that it was trained with."
            )
