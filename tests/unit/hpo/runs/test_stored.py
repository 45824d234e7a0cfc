"""Run folders in a store: what is fetched is what was recorded, whatever lies beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpo.domain.campaign import CheckpointRecord, Outcome
from hpo.domain.errors import EnvironmentFault
from hpo.domain.training import EpochReport
from hpo.runs.durable import sha256_of
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder
from hpo.runs.stored import StoredRuns, fence_of
from hpo.testing.memory_artifacts import MemoryArtifacts


@pytest.fixture
def store() -> MemoryArtifacts:
    return MemoryArtifacts()


@pytest.fixture
def here(store: MemoryArtifacts, tmp_path: Path) -> StoredRuns:
    return StoredRuns(store, campaign_folder(tmp_path / "a", "night"), "runs/night-1")


@pytest.fixture
def there(store: MemoryArtifacts, tmp_path: Path) -> StoredRuns:
    return StoredRuns(store, campaign_folder(tmp_path / "b", "night"), "runs/night-1")


@pytest.fixture
def attempt(here: StoredRuns) -> Attempt:
    """An unfinished one, after an epoch."""
    made = SlotFolder(here.runs, 7).open_attempt(3, {"trial_number": 1}, {"epochs": 3})
    train(made, 1)
    return made


def train(attempt: Attempt, epoch: int) -> None:
    """As a trial does: checkpoints are replaced, the log grows."""
    last = attempt.folder / "last.pt"
    if last.exists():
        last.replace(attempt.folder / "previous.pt")
    _replace(last, f"state {epoch}")
    attempt.append_epoch(EpochReport(epoch, 0.1 * epoch, {}, {"rank_ic": np.ones(2, np.float32)}, 1.0))
    _replace(attempt.model, f"weights {epoch}")
    with (attempt.folder / "trial.log").open("a") as log:
        log.write(f"epoch {epoch}\n")


def _replace(file: Path, text: str) -> None:
    file.with_suffix(".tmp").write_text(text)
    file.with_suffix(".tmp").replace(file)


def snapshot(stored: StoredRuns, attempt: Attempt) -> CheckpointRecord:
    digest, _ = stored.put_snapshot(attempt, ())
    path = (attempt.folder / "snapshot.json").relative_to(stored.runs.parent.parent)
    return CheckpointRecord(7, "snapshot", 1, str(path), "host", "home", digest)


def finish(stored: StoredRuns, attempt: Attempt) -> tuple[CheckpointRecord, CheckpointRecord]:
    """Its result and its model as the ledger records them."""
    attempt.finish(Outcome.COMPLETE, 0.1, 1, 10)
    stored.put_finished(attempt)
    records = [
        CheckpointRecord(7, kind, 1, str(file.relative_to(stored.runs.parent.parent)), "host", "home", sha256_of(file))
        for kind, file in (("result", attempt.result_file), ("model", attempt.model))
    ]
    return records[0], records[1]


def content(attempt: Attempt) -> dict[str, bytes]:
    return {name: (attempt.folder / name).read_bytes() for name in attempt.names()}


def test_an_unfinished_attempt_is_gone_on_with_elsewhere(here: StoredRuns, there: StoredRuns, attempt: Attempt) -> None:
    record, before = snapshot(here, attempt), content(attempt)
    assert there.bring(record)
    fetched = SlotFolder(there.runs, 7).current()
    assert fetched is not None
    assert content(fetched) == before
    following = SlotFolder(there.runs, 7).open_attempt(4, {"trial_number": 1}, {})
    assert (following.folder / "last.pt").read_text() == "state 1"
    assert not list(there.runs.glob("*/.new-*"))


def test_what_changes_while_it_is_uploaded_does_not_tear_it(
    here: StoredRuns, there: StoredRuns, attempt: Attempt, store: MemoryArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.put

    def late(files: dict[str, Path]) -> None:
        train(attempt, 2)  # between the digests and the upload
        put(files)

    monkeypatch.setattr(store, "put", late)
    record = snapshot(here, attempt)
    assert there.bring(record)
    fetched = SlotFolder(there.runs, 7).current()
    assert fetched is not None
    assert (fetched.folder / "last.pt").read_text() == "state 1"
    assert [epoch.epoch for epoch in fetched.epochs()] == [1]
    assert (fetched.folder / "trial.log").read_text() == "epoch 1\n"


def test_previous_stands_in_for_a_checkpoint_that_is_being_replaced(here: StoredRuns, attempt: Attempt) -> None:
    train(attempt, 2)
    _, keys = here.put_snapshot(attempt, ())
    assert any("last.pt." in key for key in keys)
    assert not any("previous.pt." in key for key in keys)
    (attempt.folder / "last.pt").unlink()
    _, keys = here.put_snapshot(attempt, ())
    assert any("previous.pt." in key for key in keys)


def test_only_what_is_new_is_uploaded(
    here: StoredRuns, attempt: Attempt, store: MemoryArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, known = here.put_snapshot(attempt, ())
    train(attempt, 2)
    uploaded: list[str] = []
    monkeypatch.setattr(store, "put", lambda files: uploaded.extend(files))
    here.put_snapshot(attempt, known)
    names = sorted(key.removeprefix("runs/night-1/slot-0007/attempt-3/").rpartition(".")[0] for key in uploaded)
    assert names == ["daily/epoch-0002.npz", "last.pt", "metrics.jsonl", "model.pt", "snapshot.json", "trial.log"]


def test_a_finished_attempt_comes_without_checkpoints_and_its_model_when_it_is_asked_for(
    here: StoredRuns, there: StoredRuns, attempt: Attempt, store: MemoryArtifacts
) -> None:
    result, model = finish(here, attempt)
    assert not any("last.pt" in key for key in store.contents)
    assert there.bring(result)
    fetched = SlotFolder(there.runs, 7).current()
    assert fetched is not None
    assert fetched.result() == attempt.result()
    assert not fetched.model.exists()
    assert there.bring_file(model)
    assert fetched.model.read_text() == "weights 1"


def test_other_bytes_are_refused(here: StoredRuns, there: StoredRuns, attempt: Attempt, store: MemoryArtifacts) -> None:
    record = snapshot(here, attempt)
    key = next(key for key in store.contents if "last.pt." in key)
    store.contents[key] = b"somebody else's"
    with pytest.raises(EnvironmentFault, match=r"last\.pt\.\w+ in memory://test is damaged"):
        there.bring(record)
    store.contents[f"runs/night-1/slot-0007/attempt-3/snapshot.json.{record.sha256}"] = b"{}"
    with pytest.raises(EnvironmentFault, match=r"snapshot\.json\.\w+ in memory"):
        there.bring(record)
    assert SlotFolder(there.runs, 7).current() is None


def test_what_the_store_lacks_is_not_there(
    here: StoredRuns, there: StoredRuns, attempt: Attempt, store: MemoryArtifacts
) -> None:
    record, (_, model) = snapshot(here, attempt), finish(here, attempt)
    store.contents.clear()
    assert not there.bring(record)
    assert not there.bring(None)
    assert not there.bring_file(model)
    assert not list(there.runs.glob("*/*"))
    assert SlotFolder(there.runs, 7).current() is None


def test_what_was_fetched_is_fetched_again_once_it_is_older_and_what_was_made_here_never(
    here: StoredRuns, there: StoredRuns, attempt: Attempt
) -> None:
    there.bring(snapshot(here, attempt))
    train(attempt, 2)
    newer = snapshot(here, attempt)
    there.bring(newer)
    fetched = SlotFolder(there.runs, 7).current()
    assert fetched is not None
    assert (fetched.folder / "last.pt").read_text() == "state 2"
    (fetched.folder / "last.pt").write_text("left alone: it is the same record")
    there.bring(newer)
    assert "left alone" in (fetched.folder / "last.pt").read_text()
    assert here.bring(replace(newer, sha256="0" * 64)), "made here, and newer than any upload"
    assert (attempt.folder / "last.pt").read_text() == "state 2"


def test_an_owner_deletes_what_is_superseded_and_nothing_of_a_later_one(
    here: StoredRuns, attempt: Attempt, store: MemoryArtifacts
) -> None:
    _, first = here.put_snapshot(attempt, ())
    later = SlotFolder(here.runs, 7).open_attempt(4, {"trial_number": 1}, {})
    _, others = here.put_snapshot(later, ())
    train(attempt, 2)
    _, second = here.put_snapshot(attempt, ())
    here.drop_superseded(attempt, second)
    assert store.contents.keys() == second | others
    here.drop_superseded(later, others)
    assert store.contents.keys() == others
    assert {fence_of(key) for key in first} == {3}


def test_a_finished_one_keeps_what_is_scored_with(here: StoredRuns, attempt: Attempt, store: MemoryArtifacts) -> None:
    snapshot(here, attempt)
    result, _ = finish(here, attempt)
    here.drop_unfinished(attempt)
    left = sorted(key.rpartition("attempt-3/")[2].rpartition(".")[0] for key in store.contents)
    records = ["config.json", "daily/epoch-0001.npz", "metrics.jsonl"]
    assert left == [*records, "model.pt", "result.json", "run.json", "trial.log"]
    here.put_finished(attempt)
    before = set(store.contents)
    snapshot(here, SlotFolder(here.runs, 7).open_attempt(2, {}, {}))
    snapshot(here, attempt)
    others = SlotFolder(here.runs, 8).open_attempt(1, {}, {})
    _, running = here.put_snapshot(others, ())
    here.retain([result], [])
    assert store.contents.keys() == before | running
    here.retain([result], [7])
    assert store.contents.keys() == {key for key in before if "model.pt" not in key} | running
    here.drop_all()
    assert store.contents == {}
