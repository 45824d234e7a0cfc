"""What people and programs are shown of a campaign, at 80 columns and with nothing cut off."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from hpo.cli.progress import Progress, render, time_left
from hpo.cli.status import WIDTH, status_lines, status_record
from hpo.domain.campaign import (
    Campaign,
    CampaignSpec,
    CampaignState,
    Outcome,
    SlotState,
    SlotView,
    TierPlan,
    WorkerIdentity,
)
from hpo.usecases.inspection.hosts import HostView

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REASON = (
    "non_finite: the loss was not finite in epoch 3, step 17 of 240; the largest gradient before it was 3.2e+07, so "
    "lower the learning rate or clip the gradient"
)
WORKER = WorkerIdentity("machine/4026531836", 4711, 0.0)


def campaign() -> Campaign:
    tiers = (TierPlan(1, "capacity", 4), TierPlan(2, "regularisation", 2), TierPlan(3, "refinement", 2))
    stored = {"search": {"objective": "rank_ic"}, "num_epochs": 10, "metrics": [{"name": "rank_ic", "label": "RankIC"}]}
    spec = CampaignSpec("a-rather-long-name-for-one-night", stored, {}, tiers, seed=0)
    return Campaign(1, spec, CampaignState.RUNNING, decisions={1: {"values": {}}})


def slot(number: int, tier: int, state: SlotState = SlotState.OPEN, **more: object) -> SlotView:
    blank = SlotView(
        slot=number, tier=tier, position=number, state=state, outcome=None, trial_number=None, fence=0, num_crashes=0,
        worker=None, epoch=None, score=None, samples_per_second=None, reason=None, started_at=None, finished_at=None,
        lease_expires_at=None,
    )  # fmt: skip
    return replace(blank, **more)  # type: ignore[arg-type]  # any field, by name


def done(number: int, outcome: Outcome, score: float | None, **more: object) -> SlotView:
    times = {"started_at": NOW - timedelta(minutes=10), "finished_at": NOW - timedelta(minutes=8)}
    return slot(number, 1, SlotState.DONE, outcome=outcome, score=score, epoch=10, trial_number=number, **times, **more)


@pytest.fixture
def slots() -> list[SlotView]:
    running = {
        "state": SlotState.RUNNING,
        "trial_number": 1,
        "worker": WORKER,
        "started_at": NOW - timedelta(minutes=1),
    }
    return [
        done(1, Outcome.COMPLETE, 0.0412),
        done(2, Outcome.PRUNED, 0.01),
        done(3, Outcome.FAILED, None, reason=REASON),
        done(4, Outcome.COMPLETE, 0.0533),
        slot(
            5,
            2,
            **running,
            epoch=7,
            score=0.05123,
            samples_per_second=24_511.0,
            lease_expires_at=NOW + timedelta(minutes=1),
        ),
        slot(6, 2, **running, epoch=3, score=-0.0123, lease_expires_at=NOW - timedelta(minutes=3)),
        slot(7, 3, trial_number=3),
        slot(8, 3),
    ]


def test_paused_trials_are_said(slots: list[SlotView]) -> None:
    paused = slot(7, 3, SlotState.PAUSED, trial_number=3, epoch=2, pauses=(2,))
    text = " ".join("\n".join(status_lines(campaign(), [*slots[:6], paused, slots[7]], NOW)).split())
    assert "1 trials wait, 1 paused at a saved epoch" in text
    assert status_record(campaign(), [paused], NOW)["slots"][0]["state"] == "paused"


def test_every_part_is_said(slots: list[SlotView]) -> None:
    text = "\n".join(status_lines(campaign(), slots, NOW))
    for part in (
        "a-rather-long-name-for-one-night: running, 4 of 8 trials done",
        "best RankIC +0.0533",
        "1 capacity",
        "4/4",
        "1 pruned, 1 failed, best +0.0533, decided",
        "trial 5",
        "epoch 7/10",
        "RankIC +0.0512",
        "24,511 samples/s  for 60 s  pid 4711",
        "lease ran out 3 min ago",
        "2 trials wait, 1 of them begun and saved, about 0:07:00 left",
    ):
        assert part in text, part


def test_what_runs_has_a_heading_only_where_something_runs(slots: list[SlotView]) -> None:
    assert "running" in status_lines(campaign(), slots, NOW)
    assert "running" not in status_lines(campaign(), slots[:4], NOW)


def test_the_live_view_ends_with_its_block(slots: list[SlotView]) -> None:
    with Progress(campaign(), 10, Console(file=io.StringIO(), force_terminal=True)) as progress:
        progress(slots)
        assert progress._live
        assert progress._live.is_started
    assert not progress._live.is_started


def test_nothing_is_cut_off_at_80_columns(slots: list[SlotView]) -> None:
    lines = status_lines(campaign(), slots, NOW)
    assert max(map(len, lines)) <= WIDTH
    start = next(number for number, line in enumerate(lines) if line.startswith("  trial 3"))
    assert " ".join(" ".join(lines[start:]).split()) == f"trial 3 {REASON}"


def test_a_campaign_before_its_first_trial() -> None:
    lines = status_lines(campaign(), [slot(n, 1) for n in range(1, 5)], NOW)
    assert lines[0].endswith("0 of 4 trials done")
    assert lines[-1] == "4 trials wait"


def test_the_record_is_one_line_of_json_with_all_of_it(slots: list[SlotView]) -> None:
    record = json.loads(json.dumps(status_record(campaign(), slots, NOW)))
    assert (record["campaign"], record["done"], record["budget"]) == (campaign().name, 4, 8)
    assert record["best"] == 0.0533
    assert record["seconds_left"] == 420.0
    assert [tier["done"] for tier in record["tiers"]] == [4, 0, 0]
    assert [entry["stale"] for entry in record["slots"]] == [False] * 5 + [True, False, False]
    assert record["slots"][2]["reason"] == REASON
    assert record["slots"][4]["pid"] == 4711


def test_time_left_counts_what_runs_and_what_waits(slots: list[SlotView]) -> None:
    """Two minutes a trial: one is half done, three wait (one of them behind a dead worker), one worker lives."""
    assert time_left(slots, NOW) == timedelta(minutes=7)
    alive = [replace(s, lease_expires_at=NOW + timedelta(minutes=1)) if s.slot == 6 else s for s in slots]
    assert time_left(alive, NOW) == timedelta(minutes=3)
    assert time_left(slots[4:], NOW) is None, "nothing is done yet"
    assert time_left(slots[:4], NOW) is None, "nothing runs"


def test_the_live_view_fits_80_columns(slots: list[SlotView]) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, highlight=False)
    console.print(render(campaign(), slots, 10, NOW))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text
    for part in ("2 regularisation", "0/2", "trial 5", "epoch 7/10", "24,511 samples/s", "lease ran out 3 min ago"):
        assert part in text, part
    assert "4/8 done, 25% pruned, 1 failed, best RankIC +0.0533, about 0:07:00 left" in text


def test_many_running_trials_are_summed_up(slots: list[SlotView]) -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(render(campaign(), [replace(slots[4], slot=n) for n in range(1, 41)], 10, NOW))
    assert isinstance(console.file, io.StringIO)
    assert "and 32 more" in console.file.getvalue()


def test_a_pipe_gets_one_line_per_trial_done_here(slots: list[SlotView], capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(campaign(), 10, Console(file=io.StringIO()))
    with progress:
        progress(slots)
        progress(slots)
        failed = replace(slots[4], state=SlotState.DONE, outcome=Outcome.FAILED, score=None, reason="timeout: too long")
        progress([*slots[:4], failed, *slots[5:]])
        pruned = replace(slots[5], state=SlotState.DONE, outcome=Outcome.PRUNED)
        progress([*slots[:4], failed, pruned, *slots[6:]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "what was done before this sitting is not news"
    assert lines[0].startswith("[5/8] regularisation: FAILED (timeout: too long), best +0.0533")
    assert lines[1].startswith("[6/8] regularisation: pruned after epoch 3, RankIC -0.0123, best +0.0533")


def test_hosts_say_who_is_alive_and_are_told_apart(slots: list[SlotView]) -> None:
    here = [HostView("node-1/7", 3, 1, "cuda, bf16: as the card has it"), HostView("node-2/7", 1, 0, None)]
    text = "\n".join(status_lines(campaign(), slots, NOW, here))
    assert "hosts\n  node-1           3 at work, 1 silent, cuda, bf16\n  node-2           1 at work\n" in text
    twins = [replace(here[0], host="node-2/8"), here[1]]
    assert "  node-2/8         3 at work" in "\n".join(status_lines(campaign(), slots, NOW, twins))
    assert status_record(campaign(), slots, NOW, here)["hosts"][0] == {
        "host": "node-1/7",
        "alive": 3,
        "silent": 1,
        "device": "cuda, bf16: as the card has it",
    }
    assert "hosts" not in status_lines(campaign(), slots, NOW)


def test_trials_that_were_trained_in_different_arithmetic_are_marked(slots: list[SlotView]) -> None:
    devices = {"CPU A, bf16; torch 2": [1, 2, 3, 7], "CPU B, bf16, emulated; torch 2": [4]}
    lines = status_lines(campaign(), slots, NOW, devices=devices)
    assert "trained with different arithmetic: the same seed would not give the same bits" in lines
    assert "  1-3, 7      CPU A, bf16; torch 2" in lines
    assert "  4           CPU B, bf16, emulated; torch 2" in lines
    assert status_record(campaign(), slots, NOW, devices=devices)["devices"] == devices
