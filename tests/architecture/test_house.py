"""The house keeps its floors, its front doors and its quick start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from importlinter.cli import lint_imports

import search_spaces
import trainer
import trainer.data

ROOT = Path(__file__).parents[2]
SLOW = ("torch", "lightgbm", "optuna", "mlflow", "pandas", "scipy", "hydra", "vl_convert")
HEAVY = ("torch", "lightgbm", "optuna", "mlflow", "pandas", "numpy", "sqlalchemy", "hydra", "vl_convert")


def test_no_import_goes_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0, capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom hpo.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize(
    "arguments", [["status", "study=night"], ["best", "study=night"], ["url", "optuna"]], ids=lambda words: words[0]
)
def test_a_look_at_a_campaign_waits_for_no_library_that_searches_or_trains(
    arguments: list[str], database_url: str
) -> None:
    code = (
        f"import sys\nfrom hpo.cli import main\nmain({arguments!r})\n"
        f"print('loaded:', *[name for name in {SLOW!r} if name in sys.modules])"
    )
    environment = {**os.environ, "HPO_DATABASE_URL": database_url}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert said.stdout.splitlines()[-1] == "loaded:", said.stdout
    assert "Traceback" not in said.stderr


def test_a_worker_imports_nothing_that_trains_or_draws() -> None:
    """The trial processes do; a worker that did too would start seconds later."""
    modules = ("hpo.usecases.session", "hpo.engine.objective", "hpo.engine.worker", "hpo.adapters.processes.runners")
    code = (
        f"import sys, {', '.join(modules)}\nfrom hpo.trainable.loading import load_trainable\n"
        "trainable = load_trainable('ranker')\ntrainable.plain(trainable.parse({}))\n"
        "print('loaded:', *[name for name in ('torch', 'lightgbm', 'vl_convert') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.splitlines()[-1] == "loaded:"


def test_a_search_space_is_plain_data() -> None:
    code = f"import sys, search_spaces\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == ""


DOORS = {
    search_spaces: "ChoiceDimension Condition Constraint Dimension FloatDimension IntegerDimension Space SpaceError "
    "Tier Value catalog dump_space load_space parse_space",
    trainer: "EpochReport FitResult InputError Reporter TrainerConfig TrainerError TrainingFailure Verdict fit",
    trainer.data: "Fold HoldoutData Panel Prepared TrainingData ceiling open_holdout open_training prepare "
    "summary_lines verify",
}


@pytest.mark.parametrize("package", DOORS, ids=lambda package: package.__name__)
def test_the_front_doors_are_what_was_promised(package: ModuleType) -> None:
    assert sorted(package.__all__) == DOORS[package].split()
    assert all(hasattr(package, name) for name in package.__all__)


def test_the_migrations_folder_does_not_hide_alembic() -> None:
    """A package `alembic` at the root would be imported instead of the library."""
    assert not (ROOT / "alembic" / "__init__.py").exists()
    import alembic.command

    assert ROOT not in Path(alembic.command.__file__).parents or "site-packages" in alembic.command.__file__
