"""Workers as processes of their own on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hpo.adapters.engines.logs import last_lines, log_file


class LocalEngine:
    """Each worker in a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone.

    Its standard input is a pipe from the supervisor: when that closes, because the supervisor was killed, the worker
    drains by itself. Closing it is also how the supervisor asks.
    """

    def __init__(self, command: Sequence[str], *, logs: Path, home: Path, num_workers: int) -> None:
        """command: what a worker runs. num_workers: how many will share this machine's cores."""
        self._command, self._logs, self._home = command, logs, home
        self._threads = max(1, (os.cpu_count() or 1) // num_workers)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._close(number)  # of the one that ended under this number
            self._processes[number] = self._launch(number)

    def poll(self) -> Mapping[int, int | None]:
        return {number: process.poll() for number, process in self._processes.items()}

    def drain(self) -> None:
        for number in self._processes:
            self._close(number)

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()

    def last_words(self, number: int) -> str:
        return last_lines(log_file(self._logs, number))

    def _launch(self, number: int) -> subprocess.Popen[bytes]:
        log = log_file(self._logs, number)
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "HPO_HOME": str(self._home)}
        environment.setdefault("OMP_NUM_THREADS", str(self._threads))
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads that spin ruin whoever shares the cores
        with log.open("ab") as output:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def _close(self, number: int) -> None:
        if number in self._processes:
            pipe = self._processes[number].stdin
            assert pipe is not None
            pipe.close()
