"""How a training ended, in the search's words: by itself, by a failure, by death, by a fault of what it stands on."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo.domain.errors import EnvironmentFault
from hpo.domain.ports import TrialEnd, TrialRequest
from hpo.domain.training import Ending, FitResult, TrialFailure

DEATH_SECONDS = 1.0
"""How long a worker outlives its trial before it says that the trial died by itself."""
POLL_SECONDS = 0.1


def death(process: Any, request: TrialRequest, stop: Callable[[], bool]) -> TrialEnd:
    """How a trial ended that said nothing. Whoever killed it may be about to kill this process too, or to ask it to
    stop: only a worker that lives on for a moment, and has work, holds the death against the trial."""
    process.join(timeout=10.0)
    deadline = time.monotonic() + DEATH_SECONDS
    while time.monotonic() < deadline:
        if stop():
            return TrialEnd("stopped")
        time.sleep(POLL_SECONDS)
    code = process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        if name == "SIGBUS":
            said = f"a file below {request.data} was cut short while it was read (SIGBUS); it is built again on resume"
            return TrialEnd("environment", message=said)
        hint = " (often the system's out-of-memory killer)" if name == "SIGKILL" else ""
        return TrialEnd("died", reason="killed", message=f"the trial's process was ended by {name}{hint}")
    return TrialEnd("died", reason="died", message=f"the trial's process ended with exit code {code} without a result")


def failure(error: Exception, folder: Path) -> TrialEnd:
    """The end of a trial that raised: its own failure, or a fault of what every trial stands on."""
    if isinstance(error, ImportError | SyntaxError):
        said = f"the installed code cannot be imported ({error}); put it back as it was, then resume"
        return TrialEnd("environment", message=said)
    if isinstance(error, OSError):
        said = f"{error.filename or folder} cannot be used ({error.strerror or error}); mend that, then resume"
        return TrialEnd("environment", message=said)
    if isinstance(error, EnvironmentFault):
        return TrialEnd("environment", message=str(error))
    if isinstance(error, TrialFailure):
        return TrialEnd("failed", reason=error.reason, message=str(error), excess=error.excess)
    if isinstance(error, MemoryError):
        return TrialEnd("failed", reason="out_of_memory", message="the host ran out of memory")
    traceback.print_exc()
    return TrialEnd("failed", reason="error", message=f"{type(error).__name__}: {error}")


def end_of(result: FitResult) -> TrialEnd:
    """A run that came to its end, or was stopped, as its runner tells it."""
    return TrialEnd(
        "stopped" if result.ending is Ending.STOPPED else "finished",
        score=result.score,
        last_epoch=result.last_epoch,
        num_parameters=result.num_parameters,
        device=result.device,
    )
