"""The seam holds for imports inside of functions too, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imported(file: Path) -> set[str]:
    """Every module that the file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_only_the_ranker_knows_the_trainer() -> None:
    knowing = {
        file.relative_to(ROOT / "hpo").parts[0]
        for file in (ROOT / "hpo").rglob("*.py")
        if any(name == "trainer" or name.startswith("trainer.") for name in imported(file))
    }
    assert knowing == {"ranking"}


def test_nobody_but_the_table_of_trainables_names_the_ranker() -> None:
    naming = {
        file.relative_to(ROOT / "hpo").parts[0]
        for file in (ROOT / "hpo").rglob("*.py")
        if any(name == "hpo.ranking" or name.startswith("hpo.ranking.") for name in imported(file))
    }
    assert naming == {"ranking"}
