"""A line that changes in a notebook, the terminal's view elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from hpo.cli.terminal import Terminal
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, Outcome, SlotState, SlotView, TierPlan
from tiertune.display import Notebook, current_display

STORED = {"search": {"objective": "rank_ic"}, "num_epochs": 10, "metrics": [{"name": "rank_ic", "label": "RankIC"}]}
CAMPAIGN = Campaign(
    1, CampaignSpec("night", STORED, {}, (TierPlan(1, "capacity", 2),), seed=0), CampaignState.RUNNING, decisions={}
)


def slot(number: int, state: SlotState, score: float | None = None) -> SlotView:
    moment = datetime.now(UTC) if state is SlotState.DONE else None
    return SlotView(
        slot=number, tier=1, position=number, state=state, outcome=None if moment is None else Outcome.COMPLETE,
        trial_number=None, fence=0, num_crashes=0, worker=None, epoch=None, score=score, samples_per_second=None,
        reason=None, started_at=moment, finished_at=moment, lease_expires_at=None,
    )  # fmt: skip


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What a notebook shows: the number of the output and its text, in order. This code then runs in a kernel."""
    outputs: list[tuple[int, str]] = []
    count = 0

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Any:
        nonlocal count
        count += 1
        number = count
        outputs.append((number, content["text/plain"]))
        return SimpleNamespace(update=lambda new, raw: outputs.append((number, new["text/plain"])))

    shell, module = ModuleType("IPython"), ModuleType("IPython.display")
    shell.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]  # a made module
    module.display = display  # type: ignore[attr-defined]  # a made module
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return outputs


def test_outside_a_notebook_the_terminal_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert type(current_display()) is Terminal
    terminal = ModuleType("IPython")
    terminal.get_ipython = lambda: SimpleNamespace()  # type: ignore[attr-defined]  # IPython in a terminal
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert type(current_display()) is Terminal


def test_preparing_and_watching_are_a_line_each(shown: list[tuple[int, str]]) -> None:
    view = current_display()
    assert type(view) is Notebook
    with view.preparing() as progress:
        progress("features", 0.25)
        progress("features", 0.25)
        progress("labels", 0.75)
    assert shown == [
        (1, "Preparing the panel: features 25%"),
        (1, "Preparing the panel: labels 75%"),
        (1, "The panel is prepared."),
    ]
    with view.watching(CAMPAIGN, 10) as show:
        show([slot(1, SlotState.OPEN), slot(2, SlotState.OPEN)])
        show([slot(1, SlotState.DONE, 0.0712), slot(2, SlotState.OPEN)])
    assert shown[3:] == [(2, "night: 0/2 done"), (2, "night: 1/2 done, best RankIC +0.0712")]
