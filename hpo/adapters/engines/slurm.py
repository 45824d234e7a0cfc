"""Workers as tasks of Slurm job arrays. State lives in the database, so a job only has to run `hpo worker`."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hpo.adapters.engines.logs import last_lines, log_file
from hpo.domain.errors import EnvironmentFault
from hpo.engine.supervisor import INTERRUPTED

NOTICE_SECONDS = 120
"""A job is asked to end so long before its time limit: an epoch should fit into it."""

POLL_SECONDS = 2.0
"""The controller is asked no more often."""

COMMAND_SECONDS = 60.0

SIGNALS = 128
"""What a shell adds to the signal that ended a command."""

SCRIPT = """\
#!/bin/bash
number=$SLURM_ARRAY_TASK_ID
export HPO_HOME={home} OMP_WAIT_POLICY=${{OMP_WAIT_POLICY:-PASSIVE}}
trap 'asked=yes; kill -TERM $worker 2> /dev/null' TERM
{command} < /dev/null &
worker=$!
[ -n "$asked" ] && kill -TERM $worker
while kill -0 $worker 2> /dev/null; do wait $worker; done
trap '' TERM
wait $worker
code=$?
echo $code > {logs}/worker-$number.$SLURM_ARRAY_JOB_ID
exit $code
"""
"""The shell passes the scheduler's SIGTERM on to the worker, which drains, and leaves its exit code where the command
that submitted the job finds it: accounting is not installed everywhere."""


class SlurmEngine:
    """One array per start, a task per worker. A task that is preempted, or whose node is lost, is put back into the
    queue by Slurm itself; one that ended is submitted again by the supervisor."""

    def __init__(self, command: Sequence[str], *, logs: Path, home: Path, name: str, options: str) -> None:
        """command: what a worker runs. name: the campaign's. options: further ones for sbatch, as in a shell."""
        self._command, self._logs, self._home, self._name = command, logs, home, name
        self._options = shlex.split(options)
        self._jobs: dict[int, str] = {}
        self._alive: set[tuple[str, str]] = set()
        self._draining: set[str] = set()
        self._asked = -POLL_SECONDS

    def script(self) -> str:
        """What every task runs."""
        words = {"home": self._home, "logs": self._logs}
        quoted = {name: shlex.quote(str(word)) for name, word in words.items()}
        return SCRIPT.format(command=shlex.join(self._command), **quoted)

    def submission(self, numbers: Iterable[int]) -> list[str]:
        """The command that is given the script."""
        return [
            "sbatch",
            "--parsable",
            f"--job-name=hpo-{self._name}",
            f"--array={','.join(map(str, numbers))}",
            "--requeue",
            f"--signal=B:TERM@{NOTICE_SECONDS}",
            "--open-mode=append",
            f"--output={str(self._logs).replace('%', '%%')}/worker-%a.log",
            *self._options,
        ]

    def start(self, numbers: Iterable[int]) -> None:
        numbers = list(numbers)
        self._logs.mkdir(parents=True, exist_ok=True)
        job = _run(self.submission(numbers), self.script()).strip().partition(";")[0]
        self._jobs |= dict.fromkeys(numbers, job)
        self._alive |= {(job, str(number)) for number in numbers}
        self._asked = time.monotonic()

    def poll(self) -> Mapping[int, int | None]:
        if self._jobs and time.monotonic() - self._asked >= POLL_SECONDS:
            self._ask()
        return {number: self._ended(number, job) for number, job in self._jobs.items()}

    def drain(self) -> None:
        for job in sorted(set(self._jobs.values()) - self._draining):
            self._draining.add(job)  # a second signal would end a worker amid its last steps
            _run(["scancel", "--quiet", "--state=PENDING", job], check=False)
            _run(["scancel", "--quiet", "--state=RUNNING", "--batch", "--signal=TERM", job], check=False)

    def kill(self) -> None:
        for job in sorted(set(self._jobs.values())):
            _run(["scancel", "--quiet", "--full", "--signal=KILL", job], check=False)
            _run(["scancel", "--quiet", job], check=False)

    def last_words(self, number: int) -> str:
        return last_lines(log_file(self._logs, number))

    def _ask(self) -> None:
        """Which tasks the controller knows as waiting, running or ending; what it does not answer changes nothing."""
        self._asked = time.monotonic()
        try:
            rows = _run(["squeue", "--noheader", "--array", f"--name=hpo-{self._name}", "--format=%F %K"])
        except EnvironmentFault:
            return
        self._alive = {(job, task) for job, task in (row.split() for row in rows.splitlines() if row.strip())}

    def _ended(self, number: int, job: str) -> int | None:
        if (job, str(number)) in self._alive:
            return None
        code = self._logs / f"worker-{number}.{job}"
        text = code.read_text().strip() if code.exists() else ""
        if not text:
            return -signal.SIGKILL  # no shell was left to write it
        ended = int(text)
        by_signal = ended > SIGNALS and ended != INTERRUPTED  # a worker that drained says that itself
        return SIGNALS - ended if by_signal else ended


def _run(command: Sequence[str], script: str | None = None, check: bool = True) -> str:
    """What the command prints.

    Raises:
        EnvironmentFault: it is not installed, does not answer or fails, unless check is off.
    """
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=os.environ, check=False
        )
    except FileNotFoundError:
        raise EnvironmentFault(f"worker.engine=slurm needs the command {command[0]}; run this where it is.") from None
    except subprocess.TimeoutExpired:
        raise EnvironmentFault(f"{command[0]} did not answer within {COMMAND_SECONDS:.0f} s.") from None
    if check and done.returncode:
        raise EnvironmentFault(f"{command[0]} refused: {done.stderr.strip() or f'exit code {done.returncode}'}.")
    return done.stdout
