"""How a command ended is told to who has left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.inbox import Inbox, open_inbox

from hpo.cli import commands, main
from hpo.cli.notice import LONGEST, notifying
from hpo.cli.terminal import Terminal
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.wiring import App


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with open_inbox() as opened:
        monkeypatch.setenv("HPO_NOTIFY", opened.address)
        yield opened


def test_the_recommendation_is_told_and_children_do_not_inherit_the_address(inbox: Inbox) -> None:
    display = Terminal()
    with notifying("night", display):
        assert "HPO_NOTIFY" not in os.environ
        display.say("Recommendation: deploy the default.")
        display.say("Report: report.html")
    assert [(each["title"], each["message"]) for each in inbox.messages] == [
        ("hpo: night", "Recommendation: deploy the default.")
    ]


def test_a_warning_of_what_needs_a_person_is_told_at_once(inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
    display = Terminal()
    display.warn("nobody is told outside the block.")
    with notifying("night", display):
        display.warn("trial 7 may hang.")
        assert [each["message"] for each in inbox.messages] == ["trial 7 may hang."]
    assert "Warning: trial 7 may hang." in capsys.readouterr().out


def test_what_went_wrong_is_told_without_secrets_and_goes_on_its_way(inbox: Inbox) -> None:
    reason = "postgresql://me:hunter2@host/db is gone. " + "x" * LONGEST
    with pytest.raises(EnvironmentFault), notifying("night", Terminal()):
        raise EnvironmentFault(reason)
    (message,) = inbox.messages
    assert "is gone" in message["message"]
    assert "hunter2" not in message["message"]
    assert len(message["message"]) <= LONGEST


@pytest.mark.parametrize("words", [["run", "study=night", "trials=4"], ["resume", "night", "trials=4"]])
def test_run_and_resume_say_how_they_ended(words: list[str], inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def unreachable() -> Iterator[App]:
        raise EnvironmentFault("the database is away.")
        yield

    monkeypatch.setattr(commands, "open_app", unreachable)
    assert main(words) == 3
    assert [(each["title"], each["message"]) for each in inbox.messages] == [("hpo: night", "the database is away.")]


def test_a_key_is_pressed_by_somebody_who_is_there(inbox: Inbox) -> None:
    with pytest.raises(KeyboardInterrupt), notifying("night", Terminal()):
        raise KeyboardInterrupt
    assert inbox.messages == []


def test_an_inbox_that_is_gone_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_inbox() as inbox:
        monkeypatch.setenv("HPO_NOTIFY", inbox.address)
    with notifying("night", Terminal()):
        pass
    said = capsys.readouterr().out
    assert "not delivered" in said
    assert "s3cret" not in said


def test_a_wrong_address_is_refused_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_NOTIFY", "pigeon://loft")
    with pytest.raises(UsageError, match="HPO_NOTIFY"), notifying("night", Terminal()):
        pytest.fail("the work began")


def test_without_addresses_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPO_NOTIFY", raising=False)
    with notifying("night", Terminal()):
        pass
