"""Which run folders are missed, and where they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.domain.campaign import SlotState, SlotView, WorkerIdentity
from hpo.runs.archive import Archive
from hpo.runs.folder import SlotFolder, campaign_folder

ELSEWHERE = WorkerIdentity("other/4026531836", 4711, 0.0)


def view(state: SlotState, epoch: int | None, worker: WorkerIdentity | None = None) -> SlotView:
    return SlotView(
        slot=3, tier=1, position=1, state=state, outcome=None, trial_number=None, fence=1, num_crashes=0, worker=worker,
        epoch=epoch, score=None, samples_per_second=None, reason=None, started_at=None, finished_at=None,
        lease_expires_at=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "where"),
    [
        (view(SlotState.RUNNING, 4, ELSEWHERE), "on the host other."),
        (view(SlotState.OPEN, 4), "on another machine or in another HPO_HOME."),
        (view(SlotState.OPEN, None), None),
        (view(SlotState.RUNNING, None, ELSEWHERE), None),
        (view(SlotState.DONE, 4), None),
    ],
    ids=["running elsewhere", "begun elsewhere", "not begun", "in its first epoch", "recorded nowhere"],
)
def test_a_trial_that_was_trained_elsewhere_is_missed(seen: SlotView, where: str | None, tmp_path: Path) -> None:
    said = Archive(campaign_folder(tmp_path, "night"), []).missing([seen])
    assert [line.partition("they were written ")[2] for line in said] == ([] if where is None else [where])


def test_one_that_is_here_is_not_missed(tmp_path: Path) -> None:
    runs = campaign_folder(tmp_path, "night")
    SlotFolder(runs, 3).open_attempt(1, {}, {})
    assert Archive(runs, []).missing([view(SlotState.RUNNING, 4, ELSEWHERE)]) == []
