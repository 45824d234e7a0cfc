"""The arena of the fault tests, and the table of what was injected, printed at the end of the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.arena import Arena, Tally
from support.tree import Tree

NOTES = pytest.StashKey[list[str]]()
TABLE = pytest.StashKey[dict[tuple[str, str, str], Tally]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE], config.stash[NOTES] = {}, []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = config.stash.get(TABLE, {})
    if not table and not config.stash[NOTES]:
        return
    line = "{:<8} {:<36} {:<13} {:>5} {:>5} {:>11} {:>16}".format
    terminalreporter.section("injected faults")
    terminalreporter.line(line("fault", "point", "victim", "runs", "lost", "duplicated", "epochs repeated"))
    for (action, point, victim), tally in sorted(table.items()):
        terminalreporter.line(line(action, point, victim, tally.runs, tally.lost, tally.duplicated, tally.repeated))
    total = [sum(getattr(t, name) for t in table.values()) for name in ("runs", "lost", "duplicated", "repeated")]
    terminalreporter.line(line("all", "", "", *total))
    for note in config.stash[NOTES]:
        terminalreporter.line(note)


@pytest.fixture(scope="session")
def arena(
    request: pytest.FixtureRequest, session_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    home: Path = tmp_path_factory.mktemp("arena")
    arena = Arena(session_database_url, home, request.config.stash[TABLE], request.config.stash[NOTES])
    yield arena
    arena.close()


@pytest.fixture(scope="session")
def _forest(arena: Arena, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """One state folder for all real searches, so that the panel is prepared once."""
    local = Arena(arena.url, tmp_path_factory.mktemp("forest"), arena.table, arena.notes)
    yield local
    local.close()


@pytest.fixture
def tree(_forest: Arena) -> Tree:
    """Real searches beside the arena's."""
    return Tree(_forest)
