"""The import rules hold for imports inside of functions and for names in strings too, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def named(file: Path) -> set[str]:
    """Every module that the file imports, wherever in it, or names in a string, as a table of modules does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("hpo."):
            names.add(node.value.partition(":")[0])
    return names


def rooms_that_name(package: str) -> set[str]:
    """The parts of `hpo` that know the package or a module of it."""
    return {
        file.relative_to(ROOT / "hpo").parts[0]
        for file in (ROOT / "hpo").rglob("*.py")
        if any(name == package or name.startswith(f"{package}.") for name in named(file))
    }


@pytest.mark.parametrize(
    ("package", "rooms"),
    [
        ("trainer", {"ranking"}),
        ("hpo.ranking", {"ranking", "trainable"}),
        ("hpo.adapters", {"adapters", "wiring.py"}),
        ("hpo.wiring", {"cli"}),
        ("hpo.cli", {"cli", "__main__.py"}),
        ("hydra", {"cli"}),
    ],
)
def test_only_these_rooms_know_a_package(package: str, rooms: set[str]) -> None:
    assert rooms_that_name(package) == rooms
