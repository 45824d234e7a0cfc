"""Searches whose files, code or server change under them: no trial is blamed, and they end as the undisturbed one."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.arena import LONG, Arena, until
from support.tree import Tree, everything, trials

from hpo.adapters.postgres.database import prepare
from hpo.adapters.postgres.embedded import EmbeddedPostgres
from hpo.cli import EXIT_ENVIRONMENT, EXIT_INPUT
from hpo.domain.campaign import Outcome
from hpo.runs.folder import SlotFolder

SETTINGS = ("trials=4", "trainer.train.epochs=8", "trainer.train.batch_size=256")
PATIENCE = 600.0
ROOT = Path(__file__).parents[2]
SOUND = """
from hpo.ranking.ranker import Ranker


class Fragile(Ranker):
    def fit(self, *arguments, **named):
        return super().fit(*arguments, **named)
"""
FAULTY = SOUND.replace("return super()", "raise ValueError('the tables are not there')\n        return super()")


def wait_for_training(tree: Tree, name: str, pid: int) -> None:
    """Until a trial has finished an epoch here."""
    until(lambda: bool(trials(psutil.Process(pid))), PATIENCE)
    tree.wait_for_epoch(name, 1, PATIENCE)


def test_a_run_folder_that_is_deleted_amid_its_training_is_trained_again(arena: Arena) -> None:
    name = "folderless"
    log = arena.home / f"{name}.log"
    worker = arena.start(arena.plan(name, 6, own_process=True, pace=0.2))
    until(lambda: log.exists() and "slot-0002 2" in log.read_text())
    shutil.rmtree(SlotFolder(arena.home / "runs" / name, 2).folder, ignore_errors=True)
    arena.note_strike(name, "DELETE")
    worker.join(LONG)
    if worker.exitcode != 0:  # deleted between two looks at it: said in a sentence, and gone on with
        assert worker.exitcode == EXIT_ENVIRONMENT, arena.complaints(name)
        arena.recover(arena.plan(name, 6))

    assert log.read_text().splitlines().count("slot-0002 1") == 2, "it was not trained again"
    assert not [slot for slot in arena.slots(name) if slot.num_crashes or slot.outcome is Outcome.FAILED]
    assert arena.history(name) == arena.calm(6)


def cut(cache: Path) -> None:
    for array in cache.glob("*/*/*.npy"):
        os.truncate(array, array.stat().st_size // 2)


@pytest.mark.slow_faults
@pytest.mark.parametrize("harm", [cut, shutil.rmtree], ids=["cut", "deleted"])
def test_a_cache_that_is_harmed_amid_a_search_costs_no_trial(tree: Tree, harm: Callable[[Path], None]) -> None:
    name = f"cache-{harm.__name__}"
    process = tree.start(name, *SETTINGS)
    wait_for_training(tree, name, process.pid)
    harm(tree.home / "cache")
    assert process.wait(PATIENCE) in (0, EXIT_ENVIRONMENT), tree.output(name)
    assert not [slot for slot in tree.arena.slots(name) if slot.outcome is Outcome.FAILED or slot.num_crashes]
    tree.finish(tree.command("resume", f"study={name}"), name)

    assert_undisturbed(tree, name)


@pytest.mark.slow_faults
def test_a_worker_with_changed_code_is_refused_and_trains_nothing(tree: Tree, tmp_path: Path) -> None:
    name = "recoded"
    process = tree.start(name, *SETTINGS)
    wait_for_training(tree, name, process.pid)
    for victim in everything(psutil.Process(process.pid)):
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()
    for package in ("hpo", "trainer", "search_spaces"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "trainer" / "training" / "schedules.py").open("a") as file:
        file.write("\n# changed\n")
    before = tree.arena.records(name)

    for word in ("worker", "resume"):
        other = tree.command(word, f"study={name}", PYTHONPATH=str(tmp_path), PYTHONSAFEPATH="1")
        tree.finish(other, name, EXIT_INPUT)
        assert "code" in (tree.home / f"{name}.out").read_text().splitlines()[-1]
        assert tree.arena.records(name) == before

    tree.run(name, *SETTINGS)
    assert_undisturbed(tree, name)


@pytest.mark.slow_faults
def test_a_campaign_whose_trials_fail_alike_ends_with_the_reason_and_goes_on_with_mended_code(
    tree: Tree, tmp_path: Path
) -> None:
    """With a trainable of the user's own, from the working directory."""
    name, own = "fragile", tmp_path / "own.py"
    own.write_text(FAULTY)
    tree.cwd = tmp_path
    settings = (*SETTINGS, "trainable=own:Fragile")

    tree.finish(tree.start(name, *settings), name, EXIT_ENVIRONMENT)
    said = tree.output(name)
    assert "All 3 trials of the campaign 'fragile' so far failed, 3 of them with 'error'" in said
    assert "the tables are not there" in said
    assert f"hpo resume study={name} --retry-failed" in said
    num_failed = len(tree.arena.slots(name)) - sum(slot.outcome is None for slot in tree.arena.slots(name))
    own.write_text(SOUND)
    tree.finish(tree.command("resume", f"study={name}"), name, EXIT_INPUT)
    tree.finish(tree.command("resume", f"study={name}", "--retry-failed"), name)

    tree.run("sound", *settings)
    found, expected = (tree.arena.history(each) for each in (name, "sound"))
    assert [trial for trial in found[0] if trial[1].name != "FAIL"] == expected[0]
    assert len(found[0]) == len(expected[0]) + num_failed
    assert found[3] == expected[3], "other weights"


@pytest.fixture
def embedded() -> Iterator[Tree]:
    """Searches on a server of their own, found through the state folder as a user's is."""
    home = Path(tempfile.mkdtemp(prefix="tiertune-embedded-"))
    home.chmod(0o755)  # when root runs the tests, the server's own user has to get in
    server = EmbeddedPostgres(home)
    url = server.acquire()
    server.keep()
    prepare(url)
    arena = Arena(url, home, {})
    yield Tree(arena, {"HPO_DATABASE_URL": ""})
    arena.close()
    server.release()
    server.stop()
    shutil.rmtree(home)


@pytest.mark.slow_faults
def test_an_embedded_server_that_is_killed_is_started_again(embedded: Tree) -> None:
    name = "serverless"
    process = embedded.start(name, *SETTINGS)
    wait_for_training(embedded, name, process.pid)
    (lock,) = embedded.home.rglob("postmaster.pid")
    os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
    assert process.wait(PATIENCE) == 0, embedded.output(name)

    EmbeddedPostgres(embedded.home).keep()  # the one that the search had started ended with it
    assert_undisturbed(embedded, name)


def assert_undisturbed(tree: Tree, name: str) -> None:
    """The campaign is complete, with the history of one that nothing happened to."""
    slots = tree.arena.slots(name)
    assert not [slot for slot in slots if slot.outcome not in (Outcome.COMPLETE, Outcome.PRUNED)], slots
    assert tree.arena.history(name) == tree.undisturbed(*SETTINGS, name="undisturbed-4")
    assert tree.arena.examine(name) == []
