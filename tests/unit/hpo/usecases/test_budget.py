"""A budget in epochs becomes trials, and what pruning saved becomes further ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpo.cli.config_loader import load
from hpo.domain.campaign import Campaign, CampaignSpec, Outcome, Progress, TierPlan, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.usecases.budget import affordable, grown, planned
from hpo.usecases.fingerprints import differences
from hpo.usecases.records import Records

TEN = {"train": {"epochs": 10}}


def config(epochs: int | None) -> SearchConfig:
    return SearchConfig(epochs=epochs, trials=3, trainer=TEN)


def searched(*ends: tuple[Outcome, int]) -> tuple[MemoryLedger, Campaign]:
    """A campaign of as many trials, which ended so after so many epochs, and one that is still open."""
    ledger = MemoryLedger(FakeClock())
    campaign = ledger.open_campaign(CampaignSpec("night", {}, {}, (TierPlan(1, "one", len(ends) + 1),), 0))
    worker = ledger.register_worker(campaign.id, WorkerIdentity("host", 1, 0.0))
    for outcome, epochs in ends:
        claim = ledger.claim(campaign.id, worker, SearchConfig().worker.lease)
        assert claim is not None
        if epochs:
            ledger.renew(claim, SearchConfig().worker.lease, Progress(epochs, 0.1, None))
        ledger.finish(claim, outcome, None if outcome is Outcome.FAILED else 0.1)
    return ledger, campaign


def test_epochs_are_planned_as_whole_trials() -> None:
    assert planned(config(47)).trials == 4
    assert planned(config(None)).trials == 3
    with pytest.raises(UsageError, match=r"epochs=9: a single trial has 10 epochs; .* \(HPO_EPOCHS\)"):
        planned(config(9))


def test_what_pruning_saved_pays_for_further_trials() -> None:
    ledger, campaign = searched((Outcome.COMPLETE, 10), (Outcome.PRUNED, 3), (Outcome.PRUNED, 4), (Outcome.FAILED, 2))
    # 10 + 3 + 4, a whole one for the failure, and one for the trial that is still open: 37.
    assert [affordable(ledger, campaign, config(epochs)) for epochs in (40, 47, 66, 67)] == [0, 1, 2, 3]
    assert affordable(ledger, campaign, config(20)) == 0
    assert affordable(ledger, campaign, config(None)) == 0


def test_two_budgets_are_refused() -> None:
    quick = ["space=quickstart", "epochs=100"]
    assert load(quick)[0].trials == 10
    with pytest.raises(UsageError, match="two budgets; give one of them"):
        load([*quick, "trials=10"])


def test_a_campaign_that_grew_is_the_same_campaign() -> None:
    stored = CampaignSpec("night", {"search": {"epochs": 100}}, {}, (TierPlan(1, "one", 14),), 0)
    again = replace(stored, tiers=(TierPlan(1, "one", 10),))
    assert differences(stored, again) == []
    more = replace(again, config={"search": {"epochs": 200}})
    assert differences(stored, more) == [
        "its budget is 100 epochs, not 200 epochs: `hpo resume study=night epochs=200` raises it"
    ]
    trials = replace(stored, config={"search": {"epochs": None}})
    assert "its budget is 14 trials, not 100 epochs" in differences(trials, stored)[0]


def test_of_two_sittings_that_end_together_one_adds_the_trials(tmp_path: Path) -> None:
    ledger, campaign = searched((Outcome.COMPLETE, 10), (Outcome.PRUNED, 3), (Outcome.PRUNED, 4))
    worker = ledger.register_worker(campaign.id, WorkerIdentity("host", 1, 0.0))
    last = ledger.claim(campaign.id, worker, SearchConfig().worker.lease)
    assert last is not None
    ledger.finish(last, Outcome.FAILED, None, "error: it broke")
    records = Records(tmp_path, ledger)
    # 10 + 3 + 4 and a whole one for the failure: 27 of 50.
    first, added = grown(records, campaign, config(50))
    assert (first.spec.budget, added) == (6, 2)
    again, none = grown(records, campaign, config(50))
    assert (again, none) == (first, 0)
    assert grown(records, campaign, config(None)) == (first, 0)
