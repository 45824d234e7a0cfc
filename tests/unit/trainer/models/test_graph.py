"""The stock graph: neighbours by trailing correlation and sector, never from the future."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.models.graph import LOOKBACK, REFRESH_DAYS, Graph, GraphSchedule

DAYS, STOCKS, NEIGHBOURS = 200, 12, 3
EVERYONE = np.arange(STOCKS)


@pytest.fixture
def dates() -> NDArray[np.datetime64]:
    weekdays = np.busday_offset("2020-01-01", np.arange(DAYS), roll="forward")
    return weekdays.astype("datetime64[D]")


@pytest.fixture
def returns() -> NDArray[np.float32]:
    """Three groups of four stocks (0-3, 4-7, 8-11), each moved by a factor of its own."""
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.normal(0, 0.02, (DAYS, 3)), 4, axis=1)
    market = rng.normal(0, 0.02, (DAYS, 1))
    return (market + groups + rng.normal(0, 0.005, (DAYS, STOCKS))).astype(np.float32)


NO_SECTORS = np.full(STOCKS, -1, dtype=np.int16)


def schedule(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32], sectors: NDArray[np.int16] = NO_SECTORS, k: int = 3
) -> GraphSchedule:
    return GraphSchedule(dates, returns, np.broadcast_to(sectors, returns.shape), k)


def edges(graph: Graph, day: int, stock: int) -> set[int]:
    return set(graph.neighbours[day, stock].tolist())


def test_neighbours_are_the_stocks_that_move_together(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32]
) -> None:
    graph = schedule(dates, returns).graph_for(range(150, 152), EVERYONE)
    assert graph.neighbours.shape == graph.weights.shape == (2, STOCKS, NEIGHBOURS)
    assert edges(graph, 0, 1) == {0, 2, 3}
    assert edges(graph, 1, 10) == {8, 9, 11}
    assert (graph.weights > 0.5).all()


def test_a_graph_of_some_stocks_speaks_of_their_places(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32]
) -> None:
    built, some = schedule(dates, returns), np.array([11, 2, 9, 0])
    graph = built.graph_for([150], some)
    assert [edges(graph, 0, stock) for stock in range(4)] == [{2, -1}, {3, -1}, {0, -1}, {1, -1}]
    assert (graph.weights[graph.neighbours < 0] == 0).all()


def test_stocks_are_joined_by_their_neighbours_among_all(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32]
) -> None:
    built, some = schedule(dates, returns), np.array([11, 2])
    seen = built.with_neighbours([150], some)
    assert seen.tolist() == [11, 2, 0, 1, 3, 8, 9, 10]
    graph, everyone = built.graph_for([150], seen), built.graph_for([150], EVERYONE)
    for place, stock in enumerate(some):
        assert seen[graph.neighbours[0, place]].tolist() == everyone.neighbours[0, stock].tolist()
        assert torch.equal(graph.weights[0, place], everyone.weights[0, stock])
    assert built.with_neighbours(range(DAYS), EVERYONE).tolist() == EVERYONE.tolist()


def test_weights_are_correlations_of_excess_returns(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32]
) -> None:
    built = schedule(dates, returns)
    refresh = built.refresh_day(150)
    window = returns[refresh + 1 - LOOKBACK : refresh + 1]
    expected = np.corrcoef(window - window.mean(axis=1, keepdims=True), rowvar=False)
    graph = built.graph_for([150], EVERYONE)
    for stock in range(STOCKS):
        neighbours = graph.neighbours[0, stock].numpy()
        # A day more or less in the window moves them by some 1e-3.
        np.testing.assert_allclose(graph.weights[0, stock], expected[stock, neighbours], atol=1e-4)


def test_no_edge_changes_when_later_returns_do(dates: NDArray[np.datetime64], returns: NDArray[np.float32]) -> None:
    day = 140
    altered = returns.copy()
    altered[day + 1 :] = np.random.default_rng(1).normal(size=altered[day + 1 :].shape)
    before = schedule(dates, returns).graph_for(range(day + 1), EVERYONE)
    after = schedule(dates, altered).graph_for(range(day + 1), EVERYONE)
    assert torch.equal(before.neighbours, after.neighbours)
    assert torch.equal(before.weights, after.weights)


def test_the_refresh_day_s_own_return_counts(dates: NDArray[np.datetime64], returns: NDArray[np.float32]) -> None:
    built = schedule(dates, returns)
    refresh = built.refresh_day(150)
    altered = returns.copy()
    altered[refresh] = np.random.default_rng(1).normal(size=STOCKS)
    before, after = (s.graph_for([refresh - 1, refresh], EVERYONE) for s in (built, schedule(dates, altered)))
    assert torch.equal(before.weights[0], after.weights[0])
    assert not torch.equal(before.weights[1], after.weights[1])


def test_the_graph_stands_still_between_refreshes(dates: NDArray[np.datetime64], returns: NDArray[np.float32]) -> None:
    built = schedule(dates, returns)
    days = [built.refresh_day(day) for day in range(DAYS)]
    assert all(refresh <= day for day, refresh in enumerate(days))
    gaps = np.diff(dates[sorted(set(days))]).astype(int)
    assert abs(gaps[1:] - REFRESH_DAYS).max() <= 4  # a refresh waits for the next trading day
    graph = built.graph_for(range(DAYS), EVERYONE)
    for day in range(DAYS):
        assert torch.equal(graph.weights[day], graph.weights[days[day]])


def test_a_panel_that_starts_later_has_the_same_graphs(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32]
) -> None:
    cut = 50
    late = schedule(dates[cut:], returns[cut:])
    days = range(cut + LOOKBACK + REFRESH_DAYS, DAYS)
    expected = schedule(dates, returns).graph_for(days, EVERYONE)
    found = late.graph_for(range(days.start - cut, days.stop - cut), EVERYONE)
    assert torch.equal(expected.neighbours, found.neighbours)


def test_stocks_without_history_are_tied_to_their_sector(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32]
) -> None:
    returns[:, 5] = np.nan
    sectors = np.full(STOCKS, 1, dtype=np.int16)
    sectors[[5, 9, 10]] = 2
    graph = schedule(dates, returns, sectors).graph_for([150], EVERYONE)
    assert edges(graph, 0, 5) == {9, 10, -1}
    assert sorted(graph.weights[0, 5].tolist()) == [0.0, 0.25, 0.25]
    lonely = schedule(dates, returns).graph_for([150], EVERYONE)
    assert edges(lonely, 0, 5) == {-1}


@pytest.mark.parametrize(("observed", "is_tied"), [(LOOKBACK // 2, True), (LOOKBACK // 2 - 1, False)])
def test_half_of_the_returns_are_enough_for_a_correlation(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32], observed: int, is_tied: bool
) -> None:
    refresh = schedule(dates, returns).refresh_day(150)
    returns[: refresh + 1 - observed, 5] = np.nan
    graph = schedule(dates, returns).graph_for([150], EVERYONE)
    assert (edges(graph, 0, 5) == {4, 6, 7}) == is_tied
    assert (edges(graph, 0, 5) == {-1}) != is_tied


def test_fewer_stocks_than_neighbours_leave_places_empty(
    dates: NDArray[np.datetime64], returns: NDArray[np.float32]
) -> None:
    graph = schedule(dates, returns[:, :3], np.full(3, -1, dtype=np.int16), k=6).graph_for([150], np.arange(3))
    assert graph.neighbours.shape == (1, 3, 6)
    assert -1 in edges(graph, 0, 0)
    assert (graph.weights[graph.neighbours < 0] == 0).all()


def test_no_stock_is_its_own_neighbour(dates: NDArray[np.datetime64], returns: NDArray[np.float32]) -> None:
    graph = schedule(dates, returns, k=11).graph_for(range(DAYS), EVERYONE)
    assert not (graph.neighbours == torch.arange(STOCKS).view(1, -1, 1)).any()


def test_the_last_days_of_a_graph(dates: NDArray[np.datetime64], returns: NDArray[np.float32]) -> None:
    graph = schedule(dates, returns).graph_for(range(100, 160), EVERYONE)
    assert torch.equal(graph.last(7).weights, graph.weights[-7:])
    assert torch.equal(graph.to(torch.device("cpu")).neighbours, graph.neighbours)
