"""Batches: every sample once an epoch, sizes that mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import TrainConfig
from trainer.training.batches import SpanPlan, day_chunks, plan

WINDOW = 5


def make_plan(days: int = 100, stocks: int = 50, first: int = 0, **train: Any) -> SpanPlan:
    labelled = np.ones((days, stocks), dtype=bool)
    return plan(labelled, range(first, first + days), WINDOW, TrainConfig(**train))


@settings(max_examples=60, deadline=None)
@given(
    days=st.integers(1, 60),
    stocks=st.integers(1, 40),
    batch_size=st.integers(1, 3000),
    stocks_per_batch=st.integers(0, 50),
    accumulate=st.integers(1, 4),
    seed=st.integers(0, 10),
)
def test_every_sample_is_in_exactly_one_batch_of_an_epoch(
    days: int, stocks: int, batch_size: int, stocks_per_batch: int, accumulate: int, seed: int
) -> None:
    made = make_plan(days, stocks, 7, batch_size=batch_size, stocks_per_batch=stocks_per_batch, accumulate=accumulate)
    seen = np.zeros((days + 7, stocks), dtype=int)
    steps = list(made.epoch(np.random.default_rng(seed)))
    for spans in steps:
        assert 1 <= len(spans) <= accumulate
        for span in spans:
            assert span.context == WINDOW - 1
            assert len(span.days) > 0
            assert (len(span.days) + span.context) <= made.largest[0]
            assert len(span.stocks) <= made.largest[1]
            seen[np.ix_(np.arange(span.days.start, span.days.stop), span.stocks)] += 1
    assert (seen[7:] == 1).all()
    assert not seen[:7].any()
    assert len(steps) == made.steps


def test_the_batch_size_decides_the_number_of_steps() -> None:
    steps = {size: make_plan(200, 64, batch_size=size, stocks_per_batch=32).steps for size in (400, 800, 1600)}
    assert steps == {400: 32, 800: 16, 1600: 8}


def test_a_batch_holds_about_as_many_samples_as_asked_for_where_labels_are_missing() -> None:
    labelled = np.random.default_rng(0).random((300, 60)) < 0.5
    made = plan(labelled, range(300), WINDOW, TrainConfig(batch_size=500, stocks_per_batch=20))
    assert int(labelled.sum()) / made.steps == pytest.approx(500, rel=0.1)


def test_accumulation_splits_a_batch_and_leaves_the_number_of_steps() -> None:
    whole, parts = (make_plan(240, 60, batch_size=1200, stocks_per_batch=30, accumulate=n) for n in (1, 4))
    assert parts.steps == whole.steps
    assert all(len(spans) == 4 for spans in parts.epoch(np.random.default_rng(0)))
    assert parts.largest[0] < whole.largest[0]


def test_stocks_without_a_label_are_in_no_batch() -> None:
    labelled = np.ones((30, 10), dtype=bool)
    labelled[:, 3] = False
    made = plan(labelled, range(30), WINDOW, TrainConfig(batch_size=100, stocks_per_batch=0))
    for spans in made.epoch(np.random.default_rng(0)):
        assert spans[0].stocks.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_epochs_differ_and_a_generator_repeats_them() -> None:
    made = make_plan(batch_size=300, stocks_per_batch=10)

    def order(seed: int) -> list[tuple[int, int, int]]:
        return [(s.days.start, s.days.stop, int(s.stocks[0])) for (s,) in made.epoch(np.random.default_rng(seed))]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_chunks_cover_the_days_once() -> None:
    spans = list(day_chunks(range(3, 50), WINDOW, 10, budget=120))
    assert [day for span in spans for day in span.days] == list(range(3, 50))
    assert all(len(span.days) <= 8 for span in spans)
    assert [len(span.days) for span in day_chunks(range(20), WINDOW, 1000, budget=1)] == [WINDOW] * 4
