"""What every engine promises, with workers that are small programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hpo.adapters.engines.local import LocalEngine
from hpo.adapters.engines.logs import LAST_LINES
from hpo.adapters.engines.ray import RayEngine
from hpo.adapters.engines.slurm import SlurmEngine
from hpo.domain.ports import Engine

DRAINS = """
import os, signal, stat, threading
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
if stat.S_ISFIFO(os.fstat(0).st_mode):
    threading.Thread(target=lambda: (os.read(0, 1), asked.set()), daemon=True).start()
print("at work", flush=True)
asked.wait()
print("drained", flush=True)
"""
"""As `hpo worker`: works until it is asked to end, by a signal or, where it is a pipe, by a closed standard input."""
HANGS = "import signal, time; signal.signal(15, signal.SIG_IGN); print('at work', flush=True); time.sleep(600)"
ENDS = "import sys; print(*range(100), sep='\\n', flush=True); sys.exit(3)"
SECONDS = 60.0

Make = Callable[[Sequence[str], int], Engine]


@pytest.fixture(params=["local", "slurm", "ray"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes an engine for a command and a number of workers; what was left running is killed at the end."""
    if request.param == "slurm":
        request.getfixturevalue("cluster")
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    made: list[Engine] = []

    def engine(command: Sequence[str], num_workers: int) -> Engine:
        logs = tmp_path / "logs 100%"
        if request.param == "slurm":
            made.append(SlurmEngine(command, logs=logs, home=tmp_path, name=tmp_path.name, options="--time=10"))
        elif request.param == "ray":
            made.append(RayEngine(command, logs=logs, home=tmp_path, gpus=1, options={"num_gpus": 0}))
        else:
            made.append(LocalEngine(command, logs=logs, home=tmp_path, num_workers=num_workers))
        return made[-1]

    yield engine
    for each in made:
        each.drain()
        each.kill()
        until(lambda each=each: None not in each.poll().values())


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def at_work(engine: Engine, numbers: Sequence[int]) -> bool:
    return all("at work" in engine.last_words(number) for number in numbers)


def test_nothing_is_said_of_workers_that_were_not_started(make: Make) -> None:
    engine = make(python(ENDS), 2)
    assert engine.poll() == {}
    assert engine.last_words(1) == ""
    engine.drain()
    engine.kill()


def test_workers_live_until_they_are_asked_to_end_and_finish_what_they_do(make: Make) -> None:
    engine = make(python(DRAINS), 2)
    engine.start([1, 2])
    until(lambda: at_work(engine, [1, 2]))
    assert engine.poll() == {1: None, 2: None}
    engine.drain()
    engine.drain()
    until(lambda: engine.poll() == {1: 0, 2: 0})
    assert engine.last_words(1).splitlines()[-1] == "drained"


def test_an_engine_that_is_asked_to_end_before_its_workers_began_starts_none(make: Make) -> None:
    engine = make(python(DRAINS), 1)
    engine.start([1])
    engine.drain()
    until(lambda: engine.poll()[1] is not None)


def test_an_end_is_told_with_its_exit_code_and_last_words_until_another_is_started(make: Make) -> None:
    engine = make(python(ENDS), 2)
    engine.start([2])
    until(lambda: engine.poll() == {2: 3})
    assert engine.poll() == {2: 3}
    assert engine.last_words(2).splitlines() == [str(line) for line in range(100 - LAST_LINES, 100)]
    engine.start([1, 2])
    assert engine.poll().keys() == {1, 2}
    until(lambda: engine.poll() == {1: 3, 2: 3})


def test_who_does_not_end_is_killed(make: Make) -> None:
    engine = make(python(HANGS), 1)
    engine.start([1])
    until(lambda: at_work(engine, [1]))
    engine.drain()
    assert engine.poll() == {1: None}
    engine.kill()
    until(lambda: engine.poll()[1] is not None)
    code = engine.poll()[1]
    assert code is not None
    assert code < 0
