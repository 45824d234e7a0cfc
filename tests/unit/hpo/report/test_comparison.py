"""Two configurations on the days both have."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.domain.errors import UsageError
from hpo.domain.metric import Metric
from hpo.ranking.metrics import metrics_of, with_derived
from hpo.report.comparison import Measured, Side, compare, comparison_lines
from hpo.report.statistics.intervals import paired_interval

DAYS = np.datetime64("2024-01-01") + np.arange(120)


def series(mean: float, seed: int, days: NDArray[np.datetime64] = DAYS) -> NDArray[np.float32]:
    """The days' common part, and a little of its own."""
    common = np.random.default_rng(0).normal(0, 0.1, len(DAYS))[np.searchsorted(DAYS, days)]
    return np.asarray(mean + common + np.random.default_rng(seed).normal(0, 0.01, len(days)), np.float32)


def contender(
    name: str,
    mean: float,
    seed: int,
    horizons: tuple[int, ...] = (1, 5),
    days: NDArray[np.datetime64] = DAYS,
    objective: str = "rank_ic",
) -> Side:
    daily = with_derived({f"rank_ic_{h}d": series(mean, seed + h, days) for h in horizons})
    metrics = sorted(metrics_of(horizons), key=lambda metric: metric.name != objective)
    return Side(name, metrics, Measured(days, daily))


def test_a_difference_that_single_intervals_would_hide_is_found() -> None:
    first, second = contender("one", 0.04, 1), contender("two", 0.03, 50)
    (differences,) = compare(first, second).values()
    assert [d.metric.name for d in differences] == ["rank_ic", "rank_ic_1d", "rank_ic_5d"]
    found = differences[0]
    assert found.difference is not None
    assert found.difference == paired_interval(
        first.validation.daily["rank_ic"], second.validation.daily["rank_ic"], horizon=5
    )
    assert found.difference.above_zero
    assert found.first is not None
    assert found.second is not None
    assert found.second.high > found.first.low, "unpaired, they overlap"
    assert comparison_lines(first, second, {"validation": differences})[-3].strip() == "A has the higher RankIC."


def test_who_is_named_second_changes_only_the_sign() -> None:
    one, two = contender("one", 0.04, 1), contender("two", 0.03, 50)
    ahead = compare(one, two)["validation"][0].difference
    behind = compare(two, one)["validation"][0].difference
    assert ahead is not None
    assert behind is not None
    assert (behind.estimate, behind.low, behind.high) == pytest.approx((-ahead.estimate, -ahead.high, -ahead.low))


def test_equals_are_not_distinguished() -> None:
    first, second = contender("one", 0.03, 1), contender("two", 0.03, 50)
    said = comparison_lines(first, second, compare(first, second))
    assert "  The two are not distinguishable by RankIC." in said
    assert max(map(len, said)) <= 80


def test_only_days_that_both_have_count() -> None:
    first, second = contender("one", 0.04, 1, days=DAYS[:80]), contender("two", 0.03, 50, days=DAYS[20:])
    found = compare(first, second)["validation"][0].difference
    assert found is not None
    assert found.num_days == 60
    assert found.estimate == pytest.approx(0.01, abs=0.004)


def test_means_over_different_horizons_are_not_compared() -> None:
    found = compare(contender("one", 0.04, 1), contender("two", 0.03, 50, horizons=(5, 20)))
    assert [d.metric.name for d in found["validation"]] == ["rank_ic_5d"]
    with pytest.raises(UsageError, match="measured differently"):
        compare(contender("one", 0.04, 1, horizons=(1,)), contender("two", 0.03, 50, horizons=(20,)))


def test_without_a_common_day_there_is_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="no day in common"):
        compare(contender("one", 0, 1, days=DAYS[:40]), contender("two", 0, 2, days=DAYS[60:]))


def test_too_few_days_give_no_interval() -> None:
    first, second = (contender(name, 0.03, seed, days=DAYS[:12]) for name, seed in (("one", 1), ("two", 2)))
    said = comparison_lines(first, second, compare(first, second))
    assert any("Too few days" in line for line in said)


def test_the_holdout_is_compared_where_both_have_it() -> None:
    measured = contender("x", 0.02, 7).validation
    one, two = contender("one", 0.04, 1), contender("two", 0.03, 50)
    one_too = Side(one.name, one.metrics, one.validation, measured)
    two_too = Side(two.name, two.metrics, two.validation, measured)
    assert list(compare(one_too, two)) == ["validation"]
    found = compare(one_too, two_too)
    assert list(found) == ["validation", "holdout"]
    assert found["holdout"][0].difference is not None
    assert found["holdout"][0].difference.estimate == 0


def test_a_ratio_as_objective_is_compared_by_its_name_with_an_interval() -> None:
    one, two = (contender(name, m, seed, objective="icir_5d") for name, m, seed in (("one", 0.06, 1), ("two", 0.02, 9)))
    found = compare(one, two)["validation"][0]
    assert found.metric.shown == "ICIR, 5 days"
    daily = one.validation.daily["rank_ic_5d"] if one.validation else np.zeros(1)
    assert found.first is not None
    assert found.first.estimate == pytest.approx(daily.mean() / daily.std(ddof=1), rel=1e-4)
    assert found.difference is not None
    assert found.difference.above_zero
    lines = comparison_lines(one, two, {"validation": [found]})
    assert "  A has the higher ICIR, 5 days." in lines


def test_every_legal_objective_is_compared_first() -> None:
    for metric in metrics_of((1, 5)):
        if metric.name.startswith(("rank_ic", "icir")):
            sides = [contender(name, 0.03, seed, objective=metric.name) for name, seed in (("a", 1), ("b", 9))]
            assert compare(*sides)["validation"][0].metric == metric


def test_a_metric_of_a_users_own_needs_a_series_to_be_compared() -> None:
    error = Metric("error_2d", "error", direction="minimize")
    with_series = [Side(n, [error], Measured(DAYS, {"error_2d": series(0.1, s)})) for n, s in (("a", 1), ("b", 2))]
    (found,) = compare(*with_series)["validation"]
    assert found.metric.shown == "minus error"
    with pytest.raises(UsageError, match="no series of minus error"):
        compare(Side("a", [error], Measured(DAYS, {})), with_series[1])
