"""State folders with unusual names: they work, or are refused in one sentence before anything is started."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.command import TINY_SPACE, hpo

DATA = "trainer.data.source='planted:clean?stocks=12&days=300'"

USABLE = {
    "quotes, unicode and what a shell reads": "q\"u'ö $HOME a`touch pwned`$(touch pwned)",
    "what a URL or a configuration file reads": "50%20 #a?b=c&d@e:f\\n,c;d",
    "long": "x" * 240,
}
REFUSED = {
    "a newline": ("a\nb", "a control character"),
    "an escape": ("a\x1b[2Jb", "a control character"),
    "no UTF-8": (os.fsdecode(b"a\xffb"), "bytes that are not UTF-8"),
    "a long part": ("x" * 300, "file name too long"),
    "a long path": ("x/" * 1800, "more than 3072 bytes"),
}


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that the server's own user can enter (root runs tests too)."""
    base = Path(tempfile.mkdtemp(prefix="tiertune-tests-"))
    base.chmod(0o755)
    yield base
    shutil.rmtree(base)


def servers(base: Path) -> list[psutil.Process]:
    """Every PostgreSQL process that works below the folder."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and str(base) in process.cwd():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("name", USABLE.values(), ids=USABLE)
def test_the_database_starts_and_stops_in_a_folder_of_any_name(base: Path, name: str) -> None:
    started = hpo(base / name, "db", "start")
    assert (started.returncode, started.stderr) == (0, "")
    assert "is up" in hpo(base / name, "db", "status").stdout
    assert hpo(base / name, "db", "stop").returncode == 0
    assert [path.name for path in base.iterdir()] == [name]
    assert servers(base) == []


def test_a_campaign_is_run_in_a_folder_of_unusual_name(base: Path) -> None:
    home, space = base / "a$b `c` \"d' 50% #é?x", base / "space.yaml"
    space.write_text(TINY_SPACE)
    ended = hpo(home, "run", "trials=2", "trainer.train.epochs=1", DATA, "--space", str(space))
    assert ended.returncode == 0, ended.stderr
    assert (home / "reports" / "default" / "report.html").exists()
    assert hpo(home, "doctor").returncode == 0
    assert servers(base) == []


@pytest.mark.parametrize(("name", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_folder_that_cannot_serve_is_refused_at_once(base: Path, name: str, reason: str) -> None:
    for command in (["run", "trials=2"], ["db", "start"]):
        ended = hpo(base / name, *command, timeout=60)
        assert ended.returncode == 2
        assert reason in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert "\x1b" not in ended.stderr
    assert list(base.iterdir()) == []
    assert servers(base) == []


def test_a_home_of_nobody_is_refused(base: Path) -> None:
    ended = hpo(base, "status", HPO_HOME="~there-is-no-such-user/x")
    assert ended.returncode == 2
    assert "no such user" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
