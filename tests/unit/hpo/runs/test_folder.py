"""The run folder: whole or not there, idempotent, and out of reach of a process that lost its slot."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from hpo.domain.campaign import Outcome
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.training import EpochReport
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder, drop_checkpoints, runs

RUN = {"campaign": "night", "tier": 1}
CONFIG = {"train": {"epochs": 3}}


def report(epoch: int, score: float | None = None) -> EpochReport:
    value = 0.1 * epoch if score is None else score
    return EpochReport(epoch, value, {"valid/rank_ic": value}, {"rank_ic": np.array([value, np.nan], np.float32)}, 1.5)


@pytest.fixture
def slot(tmp_path: Path) -> SlotFolder:
    return SlotFolder(campaign_folder(tmp_path, "night"), 7)


@pytest.fixture
def attempt(slot: SlotFolder) -> Attempt:
    return slot.open_attempt(1, RUN, CONFIG)


@pytest.mark.parametrize("name", ["..", "a/b", "/etc", "", ".hidden", "a" * 65, "a\n"])
def test_a_campaign_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="HPO_STUDY"):
        campaign_folder(tmp_path, name)


def test_a_slot_counts_from_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        SlotFolder(tmp_path, 0)


def test_an_attempt_says_what_it_is(attempt: Attempt) -> None:
    assert attempt.folder.name == "attempt-1"
    assert attempt.folder.parent.name == "slot-0007"
    assert attempt.config() == CONFIG
    run = attempt.run()
    assert (run["campaign"], run["fence"]) == ("night", 1)
    assert run["started_at"].endswith("+00:00")


def test_opening_again_changes_nothing(slot: SlotFolder, attempt: Attempt) -> None:
    attempt.append_epoch(report(1))
    before = attempt.run()
    again = slot.open_attempt(1, {"campaign": "other"}, {})
    assert again.run() == before
    assert len(again.epochs()) == 1


def test_the_current_attempt_has_the_highest_fence(slot: SlotFolder) -> None:
    assert slot.current() is None
    for fence in (9, 10, 2):
        slot.open_attempt(fence, RUN, CONFIG)
    assert [attempt.fence for attempt in slot.attempts()] == [2, 9, 10]
    current = slot.current()
    assert current is not None
    assert current.fence == 10


def test_an_epoch_is_written_once(attempt: Attempt) -> None:
    attempt.append_epoch(report(1))
    attempt.append_epoch(report(2))
    attempt.append_epoch(report(1, score=99.0))
    assert [record.score for record in attempt.epochs()] == [0.1, 0.2]
    assert attempt.epochs()[0].metrics == {"valid/rank_ic": 0.1}
    np.testing.assert_array_equal(attempt.daily(2)["rank_ic"], np.array([0.2, np.nan], np.float32))


def test_a_gap_is_refused(attempt: Attempt) -> None:
    attempt.append_epoch(report(1))
    with pytest.raises(ValueError, match="epoch 3 reported after epoch 1"):
        attempt.append_epoch(report(3))


@pytest.mark.parametrize("torn", [b'{"epoch": 3, "ti', b'{"epoch": 3}\n', b"\0" * 40, b"\xff\xfe\n"])
def test_a_torn_line_is_passed_over_and_healed(attempt: Attempt, torn: bytes) -> None:
    for epoch in (1, 2):
        attempt.append_epoch(report(epoch))
    with attempt.metrics_file.open("ab") as file:
        file.write(torn)
    assert [record.epoch for record in attempt.epochs()] == [1, 2]
    attempt.append_epoch(report(3))
    assert [json.loads(line)["epoch"] for line in attempt.metrics_file.read_bytes().splitlines()] == [1, 2, 3]


def test_a_new_attempt_starts_from_the_newest_checkpoints(slot: SlotFolder, attempt: Attempt) -> None:
    for name in ("last.pt", "model.pt", "unrelated.pt"):
        (attempt.folder / name).write_bytes(b"one " + name.encode())
    slot.open_attempt(3, RUN, CONFIG).folder.joinpath("last.pt").write_bytes(b"three")
    new = slot.open_attempt(5, RUN, CONFIG)
    assert (new.folder / "last.pt").read_bytes() == b"three"
    assert (new.folder / "model.pt").read_bytes() == b"one model.pt"
    assert not (new.folder / "unrelated.pt").exists()
    (new.folder / "last.pt").write_bytes(b"five")
    assert (attempt.folder / "last.pt").read_bytes() == b"one last.pt"


def test_a_stale_process_copies_nothing_from_its_successor(slot: SlotFolder) -> None:
    (slot.open_attempt(8, RUN, CONFIG).folder / "last.pt").write_bytes(b"eight")
    assert not (slot.open_attempt(6, RUN, CONFIG).folder / "last.pt").exists()


def test_an_epoch_reported_again_after_a_resume_keeps_its_time(slot: SlotFolder, attempt: Attempt) -> None:
    for epoch in (1, 2):
        attempt.append_epoch(report(epoch))
    second = slot.open_attempt(2, RUN, CONFIG)
    assert second.epochs() == []
    second.append_epoch(report(1))
    second.append_epoch(report(2, score=0.7))
    third = slot.open_attempt(3, RUN, CONFIG)
    third.append_epoch(report(1))
    first, changed = second.epochs()
    assert first == attempt.epochs()[0] == third.epochs()[0]
    assert changed.score == 0.7
    assert changed.time > attempt.epochs()[1].time


def test_a_result_is_the_last_word_said_once(attempt: Attempt) -> None:
    assert attempt.result() is None
    attempt.finish(Outcome.COMPLETE, 0.2, last_epoch=2, num_parameters=10)
    first = attempt.result()
    attempt.finish(Outcome.COMPLETE, 0.2, last_epoch=2, num_parameters=10)
    assert attempt.result() == first
    attempt.finish(Outcome.FAILED, reason="poison: again")
    changed = attempt.result()
    assert changed is not None
    assert (changed.outcome, changed.score, changed.reason) == (Outcome.FAILED, None, "poison: again")


def test_older_attempts_can_be_dropped(slot: SlotFolder, attempt: Attempt) -> None:
    slot.open_attempt(4, RUN, CONFIG)
    (slot.folder / ".new-left-by-a-crash").mkdir()
    slot.drop_older()
    assert [path.name for path in slot.folder.iterdir()] == ["attempt-4"]


def test_runs_come_in_order_and_strangers_are_passed_over(tmp_path: Path) -> None:
    folder = campaign_folder(tmp_path, "night")
    assert list(runs(folder)) == []
    for slot in (12, 3):
        SlotFolder(folder, slot).open_attempt(1, RUN, CONFIG)
    (folder / "slot-x").mkdir()
    (folder / "tracked.json").write_text("{}")
    assert [slot.slot for slot in runs(folder)] == [3, 12]


def test_the_named_slots_lose_their_checkpoints_and_keep_their_records(tmp_path: Path) -> None:
    folder = campaign_folder(tmp_path, "night")
    attempts = {slot: SlotFolder(folder, slot).open_attempt(1, RUN, CONFIG) for slot in (1, 2, 3)}
    for slot, attempt in attempts.items():
        attempt.append_epoch(report(1))
        attempt.model.write_bytes(b"weights")
        (attempt.folder / "last.pt").write_bytes(b"weights")
        if slot != 3:
            attempt.finish(Outcome.COMPLETE, 0.1)
    assert drop_checkpoints(folder, {1}) == 2
    assert [slot for slot, attempt in attempts.items() if attempt.model.exists()] == [2, 3]
    assert len(attempts[1].epochs()) == 1
    assert attempts[1].result() is not None


def test_a_full_disk_is_said_in_a_sentence(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    attempt.append_epoch(report(1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match=r"attempt-1.*No space left on device.*HPO_HOME"):
        attempt.finish(Outcome.COMPLETE, 0.1)
    assert attempt.result() is None


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(EnvironmentFault, match="HPO_HOME"):
        SlotFolder(campaign_folder(tmp_path, "night"), 1).open_attempt(1, RUN, CONFIG)
