"""The command line as a user's shell runs it: a process of its own, a state folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

TINY_SPACE = """\
settings:
  model.kind: mlp
  model.window: 5
  train.epochs: 3
  train.threads: 1
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-3, high: 3.0e-2, log: true, default: 5.0e-3}
    model.hidden_size: {type: choice, choices: [8, 16], ordered: true, default: 8}
  regularisation:
    model.dropout: {type: float, low: 0.0, high: 0.4, default: 0.1}
"""


def hpo(home: Path, *arguments: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `hpo` and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "hpo", *arguments],
        env=clean_environment(home, **environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_hpo(home: Path, *arguments: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start `hpo` in a session of its own, its output going to log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "hpo", *arguments],
            env=clean_environment(home, **environment),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """The caller's environment with this state folder, one thread, and nothing else of ours."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HPO_", "MLFLOW_", "PG"))}
    return {**own, "HPO_HOME": str(home), "OMP_NUM_THREADS": "1", **more}


def kill_tree(pid: int) -> None:
    """SIGKILL to a process and to everything it started, the workers in their own sessions included."""
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            if "postgres" not in process.name():
                process.kill()


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


def piped(code: str) -> tuple[int, bytes]:
    """Exit code and stderr of a program whose standard output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as stdout:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60
        )
    return ended.returncode, ended.stderr
