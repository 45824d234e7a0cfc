"""Every metric that a campaign may maximise has its own name, value and series."""

from __future__ import annotations

import numpy as np
import pytest

from hpo.domain.metric import in_common
from hpo.ranking.metrics import doubt, metrics_of, ratio_series, with_derived
from trainer.metric_names import MetricName, metric_names
from trainer.metrics import summarise

HORIZONS = (1, 5)


def test_each_has_a_label_of_its_own_and_a_series_with_its_value_as_mean() -> None:
    rng = np.random.default_rng(0)
    recorded = [
        str(name) for name in metric_names(HORIZONS) if name.kind in ("rank_ic", "ic", "long_short") and name.horizon
    ]
    daily = {name: rng.normal(0.03, 0.1, 80).astype(np.float32) for name in recorded}
    summary, series, metrics = summarise(daily), with_derived(daily), metrics_of(HORIZONS)
    assert len({metric.shown for metric in metrics}) == len(metrics) == len(summary)
    for metric in metrics:
        assert float(series[metric.name].mean()) == pytest.approx(summary[metric.name], abs=1e-5)


def test_a_metric_of_ones_own_has_its_series_a_mean_over_horizons_and_no_value_without_skill() -> None:
    rng = np.random.default_rng(0)
    daily = {f"hit_rate_{h}d": rng.normal(0.03, 0.1, 80).astype(np.float32) for h in HORIZONS}
    summary, series = summarise(daily), with_derived(daily)
    own = [metric for metric in metrics_of(HORIZONS, "judgement:hit_rate") if metric.no_skill is None]
    assert [metric.name for metric in own] == ["hit_rate", "hit_rate_1d", "hit_rate_5d"]
    assert [metric.shown for metric in own] == ["hit_rate", "hit_rate, 1 day", "hit_rate, 5 days"]
    for metric in own:
        assert float(series[metric.name].mean()) == pytest.approx(summary[metric.name], abs=1e-5)
    assert doubt("hit_rate_5d", 0.9) == "", "what is beyond belief is known of ours alone"


def test_a_ratios_series_scatters_as_its_estimate_does() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(0.05, 0.1, (2000, 200)).astype(np.float32)
    ratios = samples.mean(axis=1) / samples.std(axis=1, ddof=1)
    told = np.mean([ratio_series(sample).std() / np.sqrt(200) for sample in samples[:200]])
    assert told == pytest.approx(ratios.std(), rel=0.08)


def test_without_variation_or_a_day_there_is_no_ratio() -> None:
    assert np.isnan(ratio_series(np.full(5, 0.25, np.float32))).all()
    gaps = ratio_series(np.array([0.1, np.nan, 0.3], np.float32))
    np.testing.assert_array_equal(np.isnan(gaps), [False, True, False])


@pytest.mark.parametrize("name", [str(name) for name in metric_names(HORIZONS)])
def test_names_are_read_as_they_are_written(name: str) -> None:
    assert str(MetricName.parse(name)) == name


@pytest.mark.parametrize("name", ["sharpe", "rank_ic_d", "valid/rank_ic", "lag1_neutral_rank_ic_5d", "loss_rank_ic"])
def test_other_names_are_none_of_these(name: str) -> None:
    assert MetricName.parse(name) is None


def test_a_series_of_another_name_is_left_as_it_is() -> None:
    own = np.zeros(3, np.float32)
    assert with_derived({"turnover": own}) == {"turnover": own}


def test_a_mean_over_other_horizons_is_not_the_same_metric() -> None:
    shared = in_common(metrics_of((1, 5, 20)), metrics_of((5, 20)))
    assert {metric.horizon for metric in shared} == {5, 20}
    assert in_common(metrics_of(HORIZONS), metrics_of(HORIZONS)) == list(metrics_of(HORIZONS))
