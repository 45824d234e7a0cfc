"""A disk that is full in the middle of a search: a sentence, exit code 3, and after some tidying up it goes on."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.arena import Arena, until
from support.plans import Fault
from support.tree import Tree

from hpo.cli import EXIT_ENVIRONMENT

pytestmark = pytest.mark.slow_faults

SETTINGS = ("trials=8", "trainer.train.epochs=6")
RUNS_SIZE, HOME_SIZE = "8m", "300m"
BLOCK = bytes(1 << 12)


@pytest.fixture
def mount() -> Iterator[Callable[[Path, str], None]]:
    """Mounts a tmpfs of a size at an empty folder."""
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here, which takes root: {done.stderr.strip()}")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder that the embedded server's user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tiertune-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def fill(folder: Path) -> Path:
    """A file that leaves not a byte; remove it to have the space back."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while file.write(BLOCK) == len(BLOCK):
                pass
    except OSError:
        return ballast
    return ballast


def test_a_disk_full_of_run_folders(arena: Arena, home: Path, mount: Callable[[Path, str], None]) -> None:
    (home / "runs").mkdir()
    mount(home / "runs", RUNS_SIZE)
    local = Arena(arena.url, home, arena.table)
    tree, name = Tree(local), "full"
    for _ in range(3):
        process, before = tree.start(name, *SETTINGS), len(tree.output(name))
        tree.wait_for_epoch(name)
        ballast = fill(home / "runs")
        tree.finish(process, name, EXIT_ENVIRONMENT)
        ballast.unlink()
        said = tree.output(name)[before:]
        assert "free" in said, said
        assert "Traceback" not in said, said
        local.note_strike(name, "FULL")
    tree.finish(tree.command("resume", f"study={name}"), name)

    assert not [slot for slot in local.slots(name) if slot.num_crashes], "a trial was blamed for it"
    local.score(name, Fault("real training, run folders", "FULL"), "disk")
    local.close()


def test_a_disk_full_of_everything_the_embedded_database_too(
    arena: Arena, home: Path, mount: Callable[[Path, str], None], tmp_path: Path
) -> None:
    mount(home, HOME_SIZE)
    notes = Arena(arena.url, tmp_path, arena.table)
    tree, name = Tree(notes, {"HPO_HOME": str(home), "HPO_DATABASE_URL": ""}), "full-of-all"
    process = tree.start(name, *SETTINGS)
    until(lambda: bool(list(home.glob(f"runs/{name}/slot-*/attempt-*/metrics.jsonl"))))
    ballast = fill(home)
    tree.finish(process, name, EXIT_ENVIRONMENT)
    ballast.unlink()
    assert "Traceback" not in (tmp_path / f"{name}.out").read_text()
    for word in ("resume", "doctor"):
        tree.finish(tree.command(word, f"study={name}"), name)

    begun = (tmp_path / f"{name}.log").read_text().splitlines()
    tally = arena.tally(Fault("real training, all of HPO_HOME", "FULL"), "disk")
    tally.runs, tally.repeated = 1, len(begun) - len(set(begun))
    assert tally.repeated <= 1
    assert len(list(home.glob(f"runs/{name}/slot-*"))) == 8
    notes.close()
