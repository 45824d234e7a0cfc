"""What is Ray's alone, beside `tests/contract/test_engines.py`; nodes come and go in `tests/faults/test_ray.py`."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo.adapters.engines.ray import RayEngine
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.engine.supervisor import ENVIRONMENT

SHOWS = "import json, os, sys; print(json.dumps([dict(os.environ), os.getcwd(), sys.executable]), flush=True)"
STAYS = f"{SHOWS}; os.read(0, 1)"
SECONDS = 60.0

Make = Callable[..., RayEngine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes an engine for a small program; what was left running is ended."""
    made: list[RayEngine] = []

    def engine(code: str = SHOWS, gpus: float = 1, home: Path = tmp_path, **options: Any) -> RayEngine:
        command = ["/the/other/machine/python", "-c", code]
        made.append(RayEngine(command, logs=home / "logs", home=home, gpus=gpus, options=options))
        return made[-1]

    yield engine
    for each in made:
        each.drain()
        until(lambda each=each: None not in each.poll().values())


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def shown(engine: RayEngine, number: int) -> Any:
    """What the worker has shown of itself."""
    until(lambda: engine.last_words(number).endswith("]"))
    return json.loads(engine.last_words(number))


def test_a_machine_without_ray_is_told_what_to_install(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray here and on every node .* pip install 'tiertune\[ray\]'"):
        make()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_cpu": 2}, "num_cpu"),
        ({"num_gpus": -1}, "num_gpus"),
        ({"max_restarts": 3}, r"worker\.ray\.max_restarts is settled by the search"),
    ],
)
def test_an_option_that_ray_refuses_is_refused_at_once(make: Make, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(**options)


def test_an_address_of_ray_client_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test of this process may be connected
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(UsageError, match="RAY_ADDRESS names a server of Ray Client"):
        make().start([1])


def test_a_cluster_that_is_not_there_is_an_environment_that_cannot_be_used(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**settings: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore.")

    engine = make()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(engine._ray, "is_initialized", lambda: False)
    monkeypatch.setattr(engine._ray, "init", refuse)
    with pytest.raises(EnvironmentFault, match=r"finds no Ray cluster; .* Could not find any running Ray instance\.$"):
        engine.start([1])


def test_an_address_where_nobody_listens_is_said_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr(engine._ray, "is_initialized", lambda: False)
        with pytest.raises(EnvironmentFault, match=r"no Ray cluster at 127\.0\.0\.1:\d+; .* Connection refused"):
            engine.start([1])


@pytest.mark.slow_faults
@pytest.mark.usefixtures("ray_cluster")
def test_workers_share_a_gpu_and_one_that_finds_none_free_waits(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HPO_DATABASE_URL", "postgresql://somewhere/else")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("NOT_OURS", "stays here")
    monkeypatch.chdir(tmp_path)
    engine = make(STAYS, gpus=0.5, num_cpus=1)
    before = signal.getsignal(signal.SIGTERM)
    engine.start([1, 2, 3])
    assert signal.getsignal(signal.SIGTERM) is before
    until(lambda: sum(engine.last_words(number) != "" for number in (1, 2, 3)) == 2)
    first, second = (number for number in (1, 2, 3) if engine.last_words(number))
    for number in (first, second):
        environment, folder, python = shown(engine, number)
        assert environment["CUDA_VISIBLE_DEVICES"] == "0"
        assert environment["OMP_NUM_THREADS"] == "1"
        assert environment["HPO_DATABASE_URL"] == "postgresql://somewhere/else"
        assert environment["HPO_HOME"] == str(tmp_path)
        assert "NOT_OURS" not in environment
        assert (folder, python) == (str(tmp_path), sys.executable)
    assert engine.poll() == dict.fromkeys((1, 2, 3))
    engine.drain()
    until(lambda: None not in engine.poll().values())
    assert {engine.poll()[number] for number in (first, second)} == {0}


@pytest.mark.slow_faults
@pytest.mark.usefixtures("ray_cluster")
def test_what_cannot_be_started_on_its_node_says_why(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = make(home=tmp_path / "file", num_gpus=0)
    engine.start([1])
    until(lambda: engine.poll()[1] is not None)
    assert engine.poll()[1] == ENVIRONMENT
    assert "could not be started on its node: NotADirectoryError" in engine.last_words(1)


@pytest.mark.slow_faults
@pytest.mark.usefixtures("ray_cluster")
def test_an_actor_that_is_lost_is_a_kill(make: Make) -> None:
    engine = make(STAYS, num_gpus=0)
    engine.start([1])
    shown(engine, 1)
    engine._ray.kill(engine._seats[1].actor)
    until(lambda: engine.poll()[1] is not None)
    assert engine.poll()[1] == -signal.SIGKILL
    assert engine.last_words(1).startswith("[{"), "the log on a shared folder is still read"
