"""A tier's study is made once, by whoever comes first."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest
from support.simulated import configuration, open_campaign

from hpo.engine.stage import READY, open_study, stages
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.campaigns import length_of

CONFIG, SPACE = configuration("staged", 8)


def test_a_study_that_is_ready_is_opened_without_waiting_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, storage = MemoryLedger(FakeClock()), MemoryStorage()
    stage = stages(open_campaign(ledger, CONFIG, SPACE), CONFIG, SPACE, length_of(CONFIG))[1]
    locks = []

    def exclusive(name: str) -> AbstractContextManager[None]:
        locks.append(name)
        return nullcontext()

    monkeypatch.setattr(ledger, "exclusive", exclusive)
    first, second = (open_study(stage, storage, ledger) for _ in range(2))
    assert first._study_id == second._study_id
    assert locks == ["study staged/1-capacity"]

    first.set_user_attr(READY, "another decision")
    open_study(stage, storage, ledger)
    assert len(locks) == 2, "it is made ready once more where the tiers before it were decided anew"
