"""A worker's process: which package it runs, and what is kept of what it says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hpo.adapters.processes.local_worker import LAST_LINES, LocalWorker


def started(folder: Path, *arguments: str) -> LocalWorker:
    return LocalWorker(arguments, log=folder / "logs" / "worker-1.log", home=folder, number=1, num_workers=1)


def end_of(worker: LocalWorker) -> int:
    deadline = time.monotonic() + 60
    while worker.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    code = worker.poll()
    worker.drain()
    assert code is not None, "it still runs"
    return code


def test_a_folder_of_the_users_that_is_named_as_our_package_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hpo", "trainer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    monkeypatch.chdir(tmp_path)
    worker = started(tmp_path, "--version")
    assert end_of(worker) == 0
    assert worker.last_words().startswith("tiertune ")


def test_the_last_lines_of_what_it_said_are_kept(tmp_path: Path) -> None:
    worker = started(tmp_path, "no-such-command")
    assert end_of(worker) == 2
    assert "no-such-command" in worker.last_words()
    assert len(worker.last_words().splitlines()) <= LAST_LINES
