"""Messages through Apprise, to a real server on loopback."""

from __future__ import annotations

import logging

import pytest
from support.inbox import open_inbox

from hpo.adapters.notices import Notices
from hpo.domain.errors import UsageError


def test_a_message_arrives_at_every_address() -> None:
    with open_inbox() as one, open_inbox() as other:
        assert Notices(f"{one.address}  {other.address}").send("hpo: night", "deploy the default")
    for inbox in (one, other):
        assert [(message["title"], message["message"]) for message in inbox.messages] == [
            ("hpo: night", "deploy the default")
        ]


def test_a_message_that_does_not_arrive_is_said_and_the_address_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with open_inbox() as inbox:
        pass
    with caplog.at_level(logging.DEBUG):
        assert not Notices(inbox.address).send("hpo: night", "deploy the default")
    assert "s3cret" not in caplog.text


def test_an_unknown_form_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError, match="address 2 has no form that Apprise knows") as refused:
        Notices("json://127.0.0.1/ pigeon://me:s3cret@loft")
    assert "s3cret" not in str(refused.value)
