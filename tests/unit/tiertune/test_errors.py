"""What is foreseen is one exception with one sentence; what is not stays what it is."""

from __future__ import annotations

import pytest

from hpo.domain.errors import EnvironmentFault, InvariantBroken, StoreUnavailable, UsageError
from search_spaces.errors import SpaceError
from tiertune.errors import Error, in_one_sentence


@pytest.mark.parametrize("kind", [UsageError, EnvironmentFault, StoreUnavailable, SpaceError])
def test_a_foreseen_error_is_its_sentence_and_nothing_else(kind: type[Exception]) -> None:
    with pytest.raises(Error, match=r"^no such thing; name another\.$") as caught, in_one_sentence():
        raise kind("no such thing; name another.")
    assert caught.value.__suppress_context__, "a notebook would show every frame below"


def test_passwords_are_left_out() -> None:
    with pytest.raises(Error) as caught, in_one_sentence():
        raise EnvironmentFault("postgresql://me:hunter2@host/db does not answer.")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", [InvariantBroken, ValueError])
def test_a_bug_stays_a_bug(kind: type[Exception]) -> None:
    with pytest.raises(kind), in_one_sentence():
        raise kind("oh")
