"""Serving user interfaces: the port is looked at first, and nothing is left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo.adapters.dashboard import servers as interfaces
from hpo.domain.errors import EnvironmentFault, UsageError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("which", ["optuna", "mlflow"])
def test_a_port_that_is_taken_is_said_at_once(which: str, taken: int, tmp_path: Path) -> None:
    said: list[str] = []
    database: Any = None  # nothing may be asked of it before the port is known to be free
    with pytest.raises(EnvironmentFault, match=rf"Cannot listen on 127\.0\.0\.1:{taken}: .*; choose another --port"):
        interfaces.serve(which, database, tmp_path, "127.0.0.1", taken, said.append)
    assert said == []


def test_a_door_that_is_opened_to_others_is_warned_about(taken: int, tmp_path: Path) -> None:
    said: list[str] = []
    database: Any = None  # as above
    with pytest.raises(EnvironmentFault):
        interfaces.serve("optuna", database, tmp_path, "0.0.0.0", taken, said.append)
    assert len(said) == 1
    assert said[0].startswith("Warning: on 0.0.0.0 everybody who can reach this machine can read and change")


def test_records_elsewhere_are_not_served_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI is set"):
        interfaces._serve_mlflow(None, tmp_path, "127.0.0.1", 1)  # type: ignore[arg-type]  # refused before it is used


def test_a_server_is_ended_with_all_its_processes() -> None:
    code = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()']); print('up', flush=True); input()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert server.stdout is not None
    assert server.stdin is not None
    assert server.stdout.readline() == b"up\n"
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
    assert len(family) == 2
    interfaces._end(server)
    server.stdout.close()
    server.stdin.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
