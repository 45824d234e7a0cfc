"""When a sitting ends because nothing works, what may be tried again, and the bounds of settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpo.domain.campaign import Outcome, SlotState, SlotView
from hpo.domain.config import WorkerConfig
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.failures import hopeless, retriable


def slots(*reasons: str | None, num_open: int = 0) -> list[SlotView]:
    """Done slots, each FAILED for its reason or complete (None), and open ones."""
    ends = [(SlotState.DONE, Outcome.FAILED if reason else Outcome.COMPLETE, reason) for reason in reasons]
    ends += [(SlotState.OPEN, None, None)] * num_open  # type: ignore[list-item]
    return [
        SlotView(number, 1, number, state, outcome, None, 1, 0, None, None, None, None, reason, None, None, None)
        for number, (state, outcome, reason) in enumerate(ends, start=1)
    ]


def test_three_that_fail_alike_end_the_sitting() -> None:
    reason = hopeless("night", slots("error: x", "error: y", "error: z", num_open=5))
    assert isinstance(reason, EnvironmentFault)
    assert "--retry-failed" in str(reason)


@pytest.mark.parametrize(
    "seen",
    [
        slots("error: x", "error: y", num_open=1),
        slots("error: x", "poison: y", "error: z", num_open=1),
        slots("error: x", "error: y", "error: z", None, num_open=1),
        slots(num_open=3),
    ],
)
def test_anything_else_goes_on(seen: list[SlotView]) -> None:
    assert hopeless("night", seen) is None


def test_what_had_failed_before_the_sitting_does_not_end_it() -> None:
    assert hopeless("night", slots(*["error: x"] * 3, num_open=2), before={1, 2, 3}) is None


def test_a_campaign_whose_trials_all_failed_says_the_commonest_reason() -> None:
    reason = hopeless("night", slots("non_finite: a", "non_finite: b", "error: c"))
    assert isinstance(reason, UsageError)
    assert "2 of them with 'non_finite'" in str(reason)


def test_what_a_configuration_came_to_is_not_tried_again() -> None:
    assert retriable(slots("error: a", "non_finite: b", None, "poison: c", "timeout: d", "does_not_fit: e")) == [
        1,
        4,
        5,
    ]


@pytest.mark.parametrize("seconds", [-5, 0, 1e-3, 1e9])
def test_a_lease_has_bounds(seconds: float) -> None:
    with pytest.raises(ValidationError):
        WorkerConfig.model_validate({"lease": seconds})


@pytest.mark.parametrize("name", ["timeout", "trial_timeout"])
@pytest.mark.parametrize("seconds", [-1, 0, 1e10])
def test_limits_have_bounds(name: str, seconds: float) -> None:
    with pytest.raises(ValidationError):
        WorkerConfig.model_validate({name: seconds})
