"""Every file that a search writes, damaged in every way: the doctor names it, or it is made again, and no command ends
in a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.command import TINY_SPACE

from hpo.cli import main
from hpo.cli.config_loader import load
from hpo.cli.terminal import Terminal
from hpo.domain.errors import InvariantBroken
from hpo.usecases import session
from hpo.usecases.doctor.checkup import check_up
from hpo.wiring import App, open_app

STUDY = "harmed"
TRIAL = f"runs/{STUDY}/slot-0001/attempt-1"
FINAL = {
    "config": f"{TRIAL}/config.json",
    "run": f"{TRIAL}/run.json",
    "epochs": f"{TRIAL}/metrics.jsonl",
    "daily": f"{TRIAL}/daily/epoch-0002.npz",
    "log": f"{TRIAL}/trial.log",
    "model": f"{TRIAL}/model.pt",
    "last": f"{TRIAL}/last.pt",
    "previous": f"{TRIAL}/previous.pt",
    "result": f"{TRIAL}/result.json",
}
"""Files that nothing else holds."""
DERIVED = {
    "trial's book": f"runs/{STUDY}/slot-0001/tracked.json",
    "campaign's book": f"runs/{STUDY}/tracked.json",
    "mark": f"runs/{STUDY}/concluded.json",
    "page": f"reports/{STUDY}/report.html",
    "figures": f"reports/{STUDY}/report.json",
    "digests": f"reports/{STUDY}/digests.json",
    "panel": "cache/*/search/features.npy",
    "panel's description": "cache/*/holdout/meta.json",
}
"""Files that are made again."""
COMMANDS = {
    "status": [],
    "best": [],
    "best --format json": ["--format", "json"],
    "report": [],
    "sync": [],
    "doctor": [],
    "resume": [],
}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def fill_with_garbage(path: Path) -> None:
    path.write_bytes(b"\xff\xfe{garbage" * 7)


DAMAGES = (truncate, flip, fill_with_garbage, Path.unlink)


@pytest.fixture(scope="module")
def app(session_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A complete campaign of three real trials, in a state folder of its own."""
    home = tmp_path_factory.mktemp("home")
    (home / "tiny.yaml").write_text(TINY_SPACE)
    words = [f"study={STUDY}", "trials=3", f"space={home / 'tiny.yaml'}", "pruner.name=nop"]
    words.append("trainer.data.source='planted:clean?stocks=20&days=400'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_DATABASE_URL", session_database_url)
        patch.setenv("HPO_HOME", str(home))
        with open_app() as app:
            session.run(app.stores, app.machine, *load(words), Terminal(), None)
            (home / f"{TRIAL}/trial.log").exists() or (home / f"{TRIAL}/trial.log").touch()
            yield app


@contextmanager
def restored(path: Path) -> Iterator[None]:
    """Afterwards the file is what it was."""
    before = path.read_bytes()
    try:
        yield
    finally:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(before)


def found(app: App, pattern: str) -> Path:
    (path,) = app.home.glob(pattern)
    return path


def examined(app: App, *, repair: bool = False) -> tuple[list[str], str]:
    """What the doctor says, and how it ends ('' if all is well)."""
    said: list[str] = []
    try:
        campaign = app.records.find(STUDY)
        check_up(app.stores, app.host, campaign, said.append, repair=repair)
    except InvariantBroken as error:
        return said, str(error)
    return said, ""


def breaches(said: list[str]) -> list[str]:
    return [line for line in said if line.lstrip().startswith("- ")]


def test_the_campaign_is_healthy_and_every_kind_of_file_is_there(app: App) -> None:
    said, fault = examined(app)
    assert fault == ""
    assert [line.split()[1] for line in said if line.endswith((" is whole", " are whole"))][-3:] == ["1", "1", "1"]
    for pattern in (FINAL | DERIVED).values():
        assert found(app, pattern).stat().st_size >= 0
    known = {found(app, pattern).name for pattern in (FINAL | DERIVED).values()}
    attempt = {path.name for path in found(app, TRIAL).rglob("*") if path.is_file() and path.suffix != ".npz"}
    assert attempt <= known, "a kind of file that this test does not damage"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", FINAL)
def test_damage_that_cannot_be_mended_is_named_and_no_repair_is_offered(
    app: App, kind: str, damage: Callable[[Path], None]
) -> None:
    path = found(app, FINAL[kind])
    with restored(path):
        if not path.stat().st_size and damage is not fill_with_garbage and damage is not Path.unlink:
            return
        damage(path)
        said, end = examined(app)
        assert any(str(path) in line for line in breaches(said)), said
        assert "None of it can be made again" in end
        assert "--repair" not in end
    assert examined(app)[1] == ""


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", DERIVED)
def test_damage_to_what_is_derived_is_named_and_made_again(app: App, kind: str, damage: Callable[[Path], None]) -> None:
    path = found(app, DERIVED[kind])
    damage(path)
    said, end = examined(app)
    is_book = path.name == "tracked.json" and damage is Path.unlink
    assert is_book or any(path.name in line for line in breaches(said)), said
    assert is_book or end.endswith(f"`hpo doctor study={STUDY} --repair` mends them.")
    said, end = examined(app, repair=True)
    assert end == "", said
    if is_book:
        assert main(["sync", f"study={STUDY}"]) == 0
    assert path.stat().st_size > 0


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", ["config", "run", "epochs", "daily", "result", "model"])
def test_no_command_ends_in_a_traceback(
    app: App, kind: str, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """`main` lets an error pass that nobody foresaw."""
    path = found(app, FINAL[kind])
    with restored(path):
        damage(path)
        for words, more in COMMANDS.items():
            code = main([words.split()[0], f"study={STUDY}", *more])
            assert code in (0, 1, 3), capsys.readouterr()
        assert main(["report", f"study={STUDY}"]) == 3
        assert str(path) in capsys.readouterr().err


def test_a_missing_run_folder_is_named_even_the_champions(app: App) -> None:
    campaign = app.records.find(STUDY)
    assert campaign.champion is not None
    folder = app.home / campaign.champion["run_folder"]
    kept = folder.with_name("kept")
    shutil.move(folder, kept)
    try:
        said, end = examined(app)
        assert any(f"is not at {folder}" in line for line in breaches(said))
        assert any("champion cannot be loaded" in line for line in breaches(said))
        assert "--repair" not in end
    finally:
        shutil.move(kept, folder)
    assert examined(app)[1] == ""
