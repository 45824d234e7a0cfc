"""What is to happen to whom: plans of a worker's life, and the trap that strikes at a named point of it.

Light on purpose: a worker's fork server imports it.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from support.training import NUM_EPOCHS

PLAN = "TIERTUNE_TEST_PLAN"
"""Environment variable in which a trial's process finds the plan, pickled."""
TRIAL = (
    "trial, amid epoch",
    "trial, amid checkpoint",
    "trial, between checkpoint and report",
    "trial, between report and verdict",
)
"""Points of a trial's own process; reached by a plan with `own_process`."""
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "STOP": signal.SIGSTOP}
"""What a fault may do. Beside these: DROP ends every connection at the server, FULL refuses every further write to a
file, MEMORY leaves no memory."""
MEMORY = 1 << 36
"""Bytes that no test machine gives."""


@dataclass(frozen=True)
class Fault:
    """What happens to a process, when it comes to `point` for the nth time; in all, `times` times."""

    point: str
    action: str
    nth: int = 1
    times: int = 1


@dataclass(frozen=True)
class Plan:
    """A worker's life.

    log: where epochs are noted as they begin. pace: seconds an epoch takes. zone: its time zone; skew: seconds by which
    its clock is wrong. own_process: each trial has a process of its own, as in the product.
    """

    url: str
    home: Path
    name: str
    num_trials: int
    log: Path
    fault: Fault | None = None
    lease: float = 60.0
    pace: float = 0.0
    zone: str = "UTC"
    num_epochs: int = NUM_EPOCHS
    skew: float = 0.0
    own_process: bool = False
    sampler: str = "joint"


class Trap:
    """Counts the passages of a point, and strikes at the one that is meant."""

    def __init__(self, plan: Plan) -> None:
        self._fault, self._url = plan.fault, plan.url
        self._struck = plan.log.with_suffix(".struck")
        self._left = plan.fault.nth if plan.fault else 0
        self._before = self._num_struck()

    def passing(self, point: str) -> None:
        if self._fault is None or point != self._fault.point:
            return
        self._left -= 1
        if self._left == 0 and self._num_struck() - self._before < self._fault.times:
            self.strike(self._fault.action)

    def _num_struck(self) -> int:
        return len(self._struck.read_text().splitlines()) if self._struck.exists() else 0

    def strike(self, action: str) -> None:
        note(self._struck, action)
        if action == "FULL":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        elif action == "MEMORY":
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY // 2, resource.RLIM_INFINITY))
            bytearray(MEMORY)
        elif action == "DROP":
            _break_connections(self._url)
        else:
            os.kill(os.getpid(), SIGNALS[action])


def note(file: Path, line: str) -> None:
    """Append a line at once, however full the disk is said to be."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
    with file.open("a") as opened:
        opened.write(f"{line}\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def begin(plan: Plan, trap: Trap, point: str, folder: Path, epoch: int) -> None:
    """An epoch begins."""
    note(plan.log, f"{folder.parent.name} {epoch}")
    time.sleep(plan.pace)
    trap.passing(point)


def _break_connections(url: str) -> None:
    """Every connection to the database but the one that does it."""
    with psycopg2.connect(url.replace("+psycopg2", "")) as connection:
        connection.cursor().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
