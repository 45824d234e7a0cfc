"""Would a test notice? Random single changes of the search's code, each tried against the tests of its room.

    python -m benchmarks.mutations --count 150 --seed 0 --folder hpo

A change is a comparison, a number, a boolean, `and` for `or`, an arithmetic operator, a condition turned round, or a
statement left out. The tests tried are the module's own (the test file of its name) and the other unit tests of its
room; what they do not notice is printed with its line, for a person to judge. The checkout itself is never changed.
"""

from __future__ import annotations

import argparse
import ast
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("alembic", "benchmarks", "docs", "hpo", "search_spaces", "tests", "tiertune", "trainer")
FILES = ("pyproject.toml", "README.md", "Makefile", "mkdocs.yml", "constraints.txt", "CHANGELOG.md")
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
MINUTES = 10


@dataclass(frozen=True)
class Place:
    """The node at a position of `ast.walk`, with the line it stands on."""

    module: Path
    position: int
    line: int


def places(folder: Path) -> Iterator[Place]:
    """Everything that could be changed."""
    for module in sorted(folder.rglob("*.py")):
        for position, node in enumerate(ast.walk(ast.parse(module.read_text(encoding="utf-8")))):
            if changed(node):
                yield Place(module.relative_to(ROOT), position, getattr(node, "lineno", 0))


def changed(node: ast.AST) -> str | None:
    """Change the node in place; what was done, None where there is nothing to change."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            node.ops = [COMPARISONS[type(op)]()]
            return f"{type(op).__name__} becomes {type(node.ops[0]).__name__}"
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            node.op = OPERATORS[type(op)]()
            return f"{type(op).__name__} becomes {type(node.op).__name__}"
        case ast.BoolOp(op=op):
            node.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            return f"{type(op).__name__} becomes {type(node.op).__name__}"
        case ast.Constant(value=bool() | int() | float() as value):
            node.value = not value if isinstance(value, bool) else value + 1
            return f"{value} becomes {node.value}"
        case ast.If():
            node.test = ast.UnaryOp(ast.Not(), node.test)
            return "the condition is turned round"
        case ast.FunctionDef(body=[*_, ast.Expr(value=ast.Call()), ast.Return() | ast.Expr()]):
            node.body[-2] = ast.Pass()
            return "the last call but one is left out"
    return None


def tests_of(module: Path) -> list[str]:
    """The test file of the module's name, then its room's unit tests."""
    room = Path("tests/unit") / module.parent
    own = room / f"test_{module.name}"
    return [str(path) for path in (own, room) if (ROOT / path).exists()] or ["tests/unit/hpo"]


def is_noticed(place: Place, copy: Path) -> tuple[bool, str]:
    """Whether a test fails with the change, and what was changed."""
    file, before = copy / place.module, (ROOT / place.module).read_text(encoding="utf-8")
    tree = ast.parse(before)
    what = changed(list(ast.walk(tree))[place.position])
    assert what is not None, "a place that can be changed"
    file.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests_of(place.module)]
    try:
        run = subprocess.run(command, cwd=copy, capture_output=True, timeout=60 * MINUTES, check=False)
        return run.returncode != 0, what
    except subprocess.TimeoutExpired:
        return True, f"{what} (no end after {MINUTES} minutes)"
    finally:
        file.write_text(before, encoding="utf-8")


def main() -> None:
    """Try them, and print those that nothing noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="hpo")
    options = parser.parse_args()
    found = list(places(ROOT / options.folder))
    chosen = random.Random(options.seed).sample(found, min(options.count, len(found)))
    print(f"# {len(chosen)} of {len(found):,} places")
    num_noticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(ROOT / name, copy / name)
        for number, place in enumerate(chosen, start=1):
            noticed, what = is_noticed(place, copy)
            num_noticed += noticed
            if not noticed:
                print(f"{place.module}:{place.line}: {what}", flush=True)
            if number % 10 == 0:
                print(f"# {num_noticed} of {number} noticed", flush=True)
    print(f"# {num_noticed} of {len(chosen)} noticed")


if __name__ == "__main__":
    main()
