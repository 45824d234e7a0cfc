"""Workers, supervisors and the ledger's twin on virtual time, with accidents drawn by a seed. To replay one:
`pytest tests/faults/test_simulation.py -m slow_faults --simulation-seed=17 --simulation-seeds=1`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from support.arena import Arena
from support.simulation.campaign import Account, Scene, simulate
from support.simulation.crowd import Crowd
from support.simulation.sabotage import BROKEN
from support.simulation.whole import WholeScene

from hpo.testing.memory_ledger import MemoryLedger

SLOWER = 20
"""How much longer a step takes where the whole engine works."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Workers that lose their lease by the thousand say so."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("scene", "seeds", "num_steps"),
    [(Scene, (1, 2, 3), 20_000), (WholeScene, (5, 8, 12), 6_000)],
    ids=["ledger", "whole"],
)
def test_campaigns_on_virtual_time_lose_nothing_and_do_nothing_twice(
    scene: type[Scene], seeds: tuple[int, ...], num_steps: int
) -> None:
    accounts = [simulate(seed, num_steps, scene_of=scene) for seed in seeds]

    assert [account.breaches for account in accounts] == [[]] * len(seeds)
    assert all(account.accidents.total() > 10 for account in accounts)
    assert any(account.lost_leases for account in accounts), "nobody was overtaken"


def test_a_seed_is_a_history() -> None:
    assert simulate(4, 10_000) == simulate(4, 10_000)
    assert simulate(4, 10_000) != simulate(5, 10_000)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_ledger_that_breaks_a_rule_is_found_out(broken: type[MemoryLedger]) -> None:
    breaches = next(account.breaches for seed in range(1, 9) if (account := simulate(seed, 20_000, broken)).breaches)

    assert "step" in breaches[0], "it says when"


@pytest.mark.parametrize("num_workers", [20, pytest.param(300, marks=pytest.mark.slow_faults)])
def test_a_crowd_of_workers_asks_little_of_the_database(num_workers: int) -> None:
    """At a millisecond a statement nobody's lease runs out because others ask, and idle workers ask less and less."""
    crowd = Crowd(num_workers, service=0.001)
    crowd.play()

    assert crowd.witness.breaches == []
    assert crowd.witness.num_lost == 0
    assert crowd.server.asked.total() / crowd.world.now < 0.4 * num_workers
    assert crowd.server.waits[-1] < 1.0


@pytest.mark.slow_faults
@pytest.mark.parametrize(("scene", "slower"), [(Scene, 1), (WholeScene, SLOWER)], ids=["ledger", "whole"])
def test_a_million_steps_of_a_hundred_seeds(
    request: pytest.FixtureRequest, arena: Arena, scene: type[Scene], slower: int
) -> None:
    first, num_seeds, num_steps = (
        request.config.getoption(f"--simulation-{name}") for name in ("seed", "seeds", "steps")
    )
    total = Account()
    for seed in range(first, first + num_seeds):
        account = simulate(seed, num_steps // slower, scene_of=scene)
        total.campaigns += account.campaigns
        total.steps += account.steps
        total.claims += account.claims
        total.lost_leases += account.lost_leases
        total.accidents += account.accidents
        total.breaches += account.breaches
    arena.notes.append(
        f"simulated ({scene.__name__}): {total.steps} steps, {total.campaigns} campaigns, {total.claims} claims, "
        f"{total.lost_leases} of them overtaken, {total.accidents.total()} accidents"
    )
    assert not total.breaches, "\n".join(total.breaches)
