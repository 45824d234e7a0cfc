"""Each trial's proposal and end, and each decision, in a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.simulated import SimulatedRunner, configuration, worker

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.cli.status import decision_lines
from hpo.domain.campaign import Campaign, Outcome, WorkerIdentity
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.inspection.explanations import Explained, decided, explain
from hpo.usecases.records import Stores


def searched(home: Path, sampler: str = "joint") -> tuple[Stores, Campaign, list[Explained]]:
    """A simulated campaign of twelve trials, and what is said of them."""
    stores = Stores(home, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())
    config, space = configuration("night", 12, sampler={"name": sampler})
    worker(stores.ledger, stores.storage, home, config, space, SimulatedRunner(), WorkerIdentity("host", 1, 0.0)).run()
    campaign = stores.find("night")
    return stores, campaign, explain(stores, campaign)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stores, Campaign, list[Explained]]:
    return searched(tmp_path_factory.mktemp("home"))


def test_every_trial_is_explained(night: tuple[Stores, Campaign, list[Explained]]) -> None:
    stores, campaign, explained = night
    assert [each.slot for each in explained] == list(range(1, 13))
    assert explained[0].proposed == "the default configuration, which every campaign begins with"
    assert {each.proposed.partition(":")[0] for each in explained[1:]} == {"exploring", "exploiting"}
    for view, each in zip(stores.ledger.slots(campaign.id), explained, strict=True):
        if view.outcome is Outcome.PRUNED:
            assert re.fullmatch(
                rf"pruned after epoch {view.epoch} of \d+ by 'median': [+-]0\.\d{{4}}; "
                r"the best until then had [+-]0\.\d{4}",
                each.ended,
            )
        else:
            assert each.ended == f"complete: RankIC {view.score:+.4f}"
    assert any(each.ended.startswith("pruned") for each in explained)


def test_every_tier_says_why_it_decided(night: tuple[Stores, Campaign, list[Explained]]) -> None:
    _, campaign, explained = night
    choices = dict(decided(campaign))
    assert choices == {number: decision["reason"] for number, decision in campaign.decisions.items()}
    lines = decision_lines(campaign, explained, {**choices, 0: "The rule 'all' chose the committee."})
    assert lines[0] == "1 capacity"
    assert lines[1] == "  trial 1    the default configuration, which every campaign begins with"
    assert sum(line.startswith("  decided    ") for line in lines) == len(campaign.spec.tiers)
    assert lines[-1] == "deployed     The rule 'all' chose the committee."
    assert max(map(len, lines)) <= 80


def test_another_sampler_and_a_failure_are_called_so(tmp_path: Path) -> None:
    stores, campaign, explained = searched(tmp_path, "random")
    assert explained[3].proposed == "drawn by the sampler 'random'"
    ledger = stores.ledger
    views = [replace(view, outcome=Outcome.FAILED, reason="nonfinite: it broke") for view in ledger.slots(campaign.id)]
    ledger.slots = lambda campaign: views  # type: ignore[method-assign]
    assert explain(stores, campaign)[3].ended == "failed: nonfinite: it broke"
