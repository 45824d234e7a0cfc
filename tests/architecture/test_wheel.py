"""What is installed without the source beside it: the wheel carries everything that is read at run time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hpo.adapters.postgres.migrations_runner import head
from search_spaces import catalog

ROOT = Path(__file__).parents[2]
SOURCES = ("alembic", "hpo", "tiertune", "search_spaces", "trainer", "pyproject.toml", "README.md")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
import hpo, search_spaces
from hpo.adapters.postgres.migrations_runner import head
from hpo.trainable.loading import load_trainable
from hpo.usecases.fingerprints import code_fingerprint
from trainer import TrainerConfig
from importlib import resources
assert hpo.__file__.startswith(sys.argv[1]), hpo.__file__
print(head(), *search_spaces.catalog(), len(code_fingerprint(load_trainable("ranker"), TrainerConfig())))
print(*sorted(file.name for file in resources.files("hpo").joinpath("report", "templates").iterdir()))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-c", BUILD, str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = target.glob("tiertune-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target / "unpacked")
    return target / "unpacked"


def test_no_file_of_the_packages_is_left_behind(unpacked: Path) -> None:
    for package in ("hpo", "search_spaces", "tiertune", "trainer"):
        ours = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if is_source(path)}
        assert ours
        assert {path for path in ours if not (unpacked / path).exists()} == set()
    migrations = {path.relative_to(ROOT / "alembic") for path in (ROOT / "alembic").rglob("*") if is_source(path)}
    assert {path for path in migrations if not (unpacked / "hpo/adapters/postgres/migrations" / path).exists()} == set()


def test_nothing_but_the_packages_is_installed(unpacked: Path) -> None:
    tops = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"hpo", "search_spaces", "tiertune", "trainer"}


def test_migrations_spaces_and_templates_are_found_there(unpacked: Path, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-I", "-c", LOOK, str(unpacked)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert said.returncode == 0, said.stderr
    found, templates = said.stdout.splitlines()
    assert found.split() == [head(), *catalog(), "64"]
    assert templates.split() == sorted(path.name for path in (ROOT / "hpo/report/templates").iterdir())


def is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
