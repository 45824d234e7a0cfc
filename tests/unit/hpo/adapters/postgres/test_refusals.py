"""A refusal that shows no password."""

from __future__ import annotations

from hpo.adapters.postgres.refusals import unusable
from hpo.adapters.postgres.urls import (
    place,
)


def test_an_unreachable_server_is_named_with_the_remedy() -> None:
    url = "postgresql://u:secret@db.example:5433/d"
    assert place(url) == "database 'd' on db.example, port 5433"
    fault = str(unusable(url, RuntimeError('password=secret refused for "postgresql://u:secret@db.example/d"')))
    assert fault.startswith("The database 'd' on db.example, port 5433 cannot be used: ")
    assert "HPO_DATABASE_URL" in fault
    assert "secret" not in fault


def test_a_host_that_nobody_knows_is_not_named() -> None:
    """It may be a piece of a password that was not percent-encoded."""
    said = 'could not translate host name "sssecret" to address: Name or service not known'
    fault = str(unusable("postgresql://u:p@sssecret/d", RuntimeError(said)))
    assert fault.startswith("The database cannot be used: the host that HPO_DATABASE_URL names is unknown. ")
    assert "sssecret" not in fault
