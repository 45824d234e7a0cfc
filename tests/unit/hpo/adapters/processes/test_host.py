"""Whether a process still lives, and when that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from hpo.adapters.processes.host import identity_of, is_dead, num_threads, this_process


def test_this_process_lives() -> None:
    assert not is_dead(this_process())


def test_a_process_of_another_host_is_never_certain() -> None:
    assert not is_dead(replace(this_process(), host="elsewhere", pid=2**22 - 1))


def test_a_reused_process_number_is_another_process() -> None:
    assert is_dead(replace(this_process(), started=this_process().started - 60.0))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system knows a process's age by the clock alone")
def test_setting_the_clock_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's start seems to be later when the clock is set forward."""
    before, start = this_process(), psutil._pslinux.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: start + 3600.0)
    assert not is_dead(before)


def test_an_ended_process_is_dead_even_before_it_is_collected() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = identity_of(child.pid)
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
