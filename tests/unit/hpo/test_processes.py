"""Whether a process still lives, and when that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from hpo.adapters.processes import is_dead, num_threads, this_process
from hpo.domain import WorkerIdentity


def test_this_process_lives() -> None:
    assert not is_dead(this_process())


def test_a_process_of_another_host_is_never_certain() -> None:
    assert not is_dead(replace(this_process(), host="elsewhere", pid=2**22 - 1))


def test_a_reused_process_number_is_another_process() -> None:
    assert is_dead(replace(this_process(), started=this_process().started - 60.0))


def test_an_ended_process_is_dead_even_before_it_is_collected() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = psutil.Process(child.pid).create_time()
        identity = WorkerIdentity(this_process().host, child.pid, started)
        assert not is_dead(identity)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still a zombie
        assert is_dead(identity)
    assert is_dead(identity)


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert num_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert num_threads() >= 1
