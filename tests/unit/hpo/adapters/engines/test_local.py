"""Workers on this machine: what is theirs alone, beside `tests/contract/test_engines.py`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from hpo.adapters.engines.local import LocalEngine
from hpo.domain.config import SearchConfig
from hpo.wiring import worker_command

SHOWS = "import json, os; print(json.dumps([dict(os.environ), os.getsid(0)]))"


def said_by(engine: LocalEngine, number: int = 1) -> str:
    engine.start([number])
    deadline = time.monotonic() + 60
    while engine.poll()[number] is None:
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.05)
    engine.drain()
    return engine.last_words(number)


def test_a_folder_of_the_users_that_is_named_as_our_package_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hpo", "trainer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    monkeypatch.chdir(tmp_path)
    command = worker_command(SearchConfig())
    hpo = command[: command.index("worker")]
    said = said_by(LocalEngine([*hpo, "--version"], logs=tmp_path / "logs", home=tmp_path, num_workers=1))
    assert said.startswith("tiertune ")


def test_a_worker_knows_its_home_and_its_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    engine = LocalEngine([sys.executable, "-c", SHOWS], logs=tmp_path, home=tmp_path / "home", num_workers=2)
    environment, session = json.loads(said_by(engine, number=2))
    assert environment["HPO_HOME"] == str(tmp_path / "home")
    assert environment["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 2))
    assert session != os.getsid(0), "Ctrl-C in the terminal reaches it"
