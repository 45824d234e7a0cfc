"""The embedded trainer: multi-horizon stock ranking in bf16 PyTorch. It does not know that it is being searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.config import TrainerConfig
from trainer.errors import InputError, TrainerError, TrainingFailure

if TYPE_CHECKING:
    from trainer.reports import EpochReport, FitResult, Reporter, Verdict
    from trainer.training.loop import fit

__all__ = [
    "EpochReport",
    "FitResult",
    "InputError",
    "Reporter",
    "TrainerConfig",
    "TrainerError",
    "TrainingFailure",
    "Verdict",
    "fit",
]


def __getattr__(name: str) -> Any:
    """Import torch and numpy only when they are asked for, so that `--help` stays fast."""
    if name == "fit":
        from trainer.training.loop import fit

        return fit
    if name in {"EpochReport", "FitResult", "Reporter", "Verdict"}:
        from trainer import reports

        return getattr(reports, name)
    raise AttributeError(f"module 'trainer' has no attribute {name!r}")
