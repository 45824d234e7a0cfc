"""A worker as a process of its own, as the supervisor starts, drains and kills it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAST_LINES = 8


class LocalWorker:
    """`hpo worker` in a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone.

    Its standard input is a pipe from the supervisor: when that closes, because the supervisor was killed, the worker
    drains by itself. Closing it is also how the supervisor asks.
    """

    def __init__(self, arguments: Sequence[str], *, log: Path, home: Path, number: int, num_workers: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        environment = {**os.environ, "HPO_HOME": str(home), "HPO_WORKER_NUMBER": str(number)}
        share = max(1, (os.cpu_count() or 1) // num_workers)
        environment.setdefault("OMP_NUM_THREADS", str(share))
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads that spin ruin whoever shares the cores
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # -P: a folder in the working directory that is named `hpo` or `trainer` is not ours.
                [sys.executable, "-P", "-m", "hpo", *arguments, "--supervised"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def drain(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        self._process.kill()

    def last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:])
