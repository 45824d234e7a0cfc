"""Time that tests turn by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hpo.testing.clock import FakeClock


def test_it_stands_still_until_it_is_told_to_move() -> None:
    clock = FakeClock()
    start = clock.now()
    assert (clock.now(), clock.monotonic()) == (start, 0.0)
    clock.sleep(timedelta(seconds=90))
    clock.advance(timedelta(seconds=30))
    assert clock.now() - start == timedelta(minutes=2)
    assert clock.monotonic() == 120.0
    with pytest.raises(ValueError, match="cannot be moved back"):
        clock.advance(timedelta(seconds=-1))
