"""Two configurations on the days both have."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.domain.errors import UsageError
from hpo.ranking.metrics import with_means
from hpo.report.comparison import Contender, Measured, compare, comparison_lines
from hpo.report.statistics.intervals import paired_interval

DAYS = np.datetime64("2024-01-01") + np.arange(120)


def series(mean: float, seed: int, days: NDArray[np.datetime64] = DAYS) -> NDArray[np.float32]:
    """The days' common part, and a little of its own."""
    common = np.random.default_rng(0).normal(0, 0.1, len(DAYS))[np.searchsorted(DAYS, days)]
    return np.asarray(mean + common + np.random.default_rng(seed).normal(0, 0.01, len(days)), np.float32)


def contender(
    name: str, mean: float, seed: int, horizons: tuple[int, ...] = (1, 5), days: NDArray[np.datetime64] = DAYS
) -> Contender:
    daily = with_means({f"rank_ic_{h}d": series(mean, seed + h, days) for h in horizons})
    return Contender(name, horizons, Measured(days, daily))


def test_a_difference_that_single_intervals_would_hide_is_found() -> None:
    first, second = contender("one", 0.04, 1), contender("two", 0.03, 50)
    (differences,) = compare(first, second, "rank_ic").values()
    assert [d.metric for d in differences] == ["rank_ic", "rank_ic_1d", "rank_ic_5d"]
    found = differences[0]
    assert found.difference is not None
    assert found.difference == paired_interval(
        first.validation.daily["rank_ic"], second.validation.daily["rank_ic"], horizon=5
    )
    assert found.difference.above_zero
    assert found.first is not None
    assert found.second is not None
    assert found.second.high > found.first.low, "unpaired, they overlap"
    assert comparison_lines(first, second, {"validation": differences})[-3].strip() == "A has the higher rank_ic."


def test_who_is_named_second_changes_only_the_sign() -> None:
    one, two = contender("one", 0.04, 1), contender("two", 0.03, 50)
    ahead = compare(one, two, "rank_ic")["validation"][0].difference
    behind = compare(two, one, "rank_ic")["validation"][0].difference
    assert ahead is not None
    assert behind is not None
    assert (behind.estimate, behind.low, behind.high) == pytest.approx((-ahead.estimate, -ahead.high, -ahead.low))


def test_equals_are_not_distinguished() -> None:
    first, second = contender("one", 0.03, 1), contender("two", 0.03, 50)
    said = comparison_lines(first, second, compare(first, second, "rank_ic"))
    assert "  The two are not distinguishable by rank_ic." in said
    assert max(map(len, said)) <= 80


def test_only_days_that_both_have_count() -> None:
    first, second = contender("one", 0.04, 1, days=DAYS[:80]), contender("two", 0.03, 50, days=DAYS[20:])
    found = compare(first, second, "rank_ic")["validation"][0].difference
    assert found is not None
    assert found.num_days == 60
    assert found.estimate == pytest.approx(0.01, abs=0.004)


def test_means_over_different_horizons_are_not_compared() -> None:
    found = compare(contender("one", 0.04, 1), contender("two", 0.03, 50, horizons=(5, 20)), "rank_ic")
    assert [d.metric for d in found["validation"]] == ["rank_ic_5d"]
    with pytest.raises(UsageError, match="different horizons"):
        compare(contender("one", 0.04, 1, horizons=(1,)), contender("two", 0.03, 50, horizons=(20,)), "rank_ic")


def test_without_a_common_day_there_is_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="no day in common"):
        compare(contender("one", 0, 1, days=DAYS[:40]), contender("two", 0, 2, days=DAYS[60:]), "rank_ic")


def test_too_few_days_give_no_interval() -> None:
    first, second = (contender(name, 0.03, seed, days=DAYS[:12]) for name, seed in (("one", 1), ("two", 2)))
    said = comparison_lines(first, second, compare(first, second, "rank_ic"))
    assert any("Too few days" in line for line in said)


def test_the_holdout_is_compared_where_both_have_it() -> None:
    measured = contender("x", 0.02, 7).validation
    one, two = contender("one", 0.04, 1), contender("two", 0.03, 50)
    one_too = Contender(one.name, one.horizons, one.validation, measured)
    two_too = Contender(two.name, two.horizons, two.validation, measured)
    assert list(compare(one_too, two, "rank_ic")) == ["validation"]
    found = compare(one_too, two_too, "rank_ic")
    assert list(found) == ["validation", "holdout"]
    assert found["holdout"][0].difference is not None
    assert found["holdout"][0].difference.estimate == 0
