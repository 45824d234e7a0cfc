"""What is remembered of an earlier campaign, and what the sampler makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from support.finished import DROPOUT, RATE, SPACE, WIDTH, copied, trial
from support.simulated import SimulatedRunner, configuration, worker

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.campaign import WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.engine.earlier import EARLIER, memory_of, remembered
from hpo.engine.joint import JointSampler
from hpo.engine.parameters import distributions
from hpo.engine.stage import stages
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.campaigns import length_of, recalled
from hpo.usecases.records import Stores
from search_spaces import FloatDimension


def test_finished_trials_are_remembered_once() -> None:
    told = [
        trial(1, 0.03, curve=(0.01, 0.03)),
        trial(2, 0.02, TrialState.PRUNED, curve=(0.02,)),
        trial(3, None, TrialState.FAIL),
        copied(trial(4, 0.04)),
    ]
    memory = memory_of(told)
    assert [each["score"] for each in memory] == [0.03, 0.02]
    assert memory[0]["curve"] == [(1, 0.01), (2, 0.03)]
    back = remembered(memory, SPACE.dimensions, distributions(SPACE.dimensions))
    assert [each.intermediate_values for each in back] == [{1: 0.01, 2: 0.03}, {1: 0.02}]
    assert back[0].params == {"optim.lr": 1e-3, "model.hidden_size[index]": 1, "model.dropout": 0.1}


def test_what_this_campaign_cannot_have_is_left_out() -> None:
    memory = memory_of([trial(1, 0.03, optim_lr=5e-3, model_hidden_size=128)])
    narrow = FloatDimension(name="optim.lr", low=1e-4, high=2e-3, log=True, default=1e-3)
    (back,) = remembered(memory, (narrow, WIDTH), distributions((narrow, WIDTH)))
    assert back.params == {"model.hidden_size[index]": 3}
    assert remembered(memory, (narrow,), distributions((narrow,))) == ()
    other = FloatDimension(name="loss.ic", low=0.0, high=1.0, default=0.5)
    assert remembered(memory, (other,), distributions((other,))) == ()
    assert RATE in SPACE.dimensions
    assert DROPOUT in SPACE.dimensions


def searched(score: Any, num_trials: int, earlier: list[FrozenTrial], seed: int) -> list[FrozenTrial]:
    study = optuna.create_study(direction="maximize")
    for number in range(num_trials):
        study.sampler = JointSampler(seed=100 * seed + number, budget=num_trials, earlier=earlier)
        asked = study.ask({name: FloatDistribution(0.0, 1.0) for name in ("a", "b", "c")})
        study.tell(asked, score(asked.params))
    return study.trials


def test_a_belief_that_is_right_helps_and_one_that_is_wrong_is_outvoted() -> None:
    def score(params: dict[str, float]) -> float:
        return -sum((params[name] - place) ** 2 for name, place in (("a", 0.2), ("b", 0.8), ("c", 0.3)))

    def mean_of_last(earlier: list[FrozenTrial]) -> dict[int, float]:
        runs = [
            [score(t.params) for t in searched(score, 12, earlier, seed)] for seed in range(12)
        ]  # few go by luck, which differs with the processor
        return {2: float(np.mean([run[1:4] for run in runs])), 10: float(np.mean([run[9:] for run in runs]))}

    right = searched(score, 8, [], seed=7)
    wrong = searched(lambda params: -score(params), 8, [], seed=8)
    without, with_right, with_wrong = mean_of_last([]), mean_of_last(right), mean_of_last(wrong)
    assert with_right[2] > without[2] + 0.05, "its second to fourth trial know where to look"
    assert with_wrong[10] > without[10] - 0.05, "after nine trials it has been outvoted"


def stores_with(home: Path, **changes: Any) -> Stores:
    """With a finished campaign `first`."""
    stores = Stores(home, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())
    config, space = configuration("first", 6, **changes)
    identity = WorkerIdentity("host", 1, 0.0)
    worker(stores.ledger, stores.storage, home, config, space, SimulatedRunner(), identity).run()
    return stores


def test_a_campaign_remembers_another(tmp_path: Path) -> None:
    stores = stores_with(tmp_path)
    config, space = configuration("second", 6, warm_start="first")
    memory = recalled(stores, config, space)
    assert len(memory) == 6
    first = stores.find("first")
    spec = type(first.spec)("second", {**first.spec.config, EARLIER: memory}, {}, first.spec.tiers, 1)
    second = stores.ledger.open_campaign(spec)
    stage = stages(second, config, space, length_of(config))[1]
    assert len(stage.earlier_campaign) == 6
    assert stage.sampler(seed=0)._earlier == stage.earlier_campaign  # type: ignore[attr-defined]
    assert recalled(stores, config, space) == [], "what it remembers is frozen with it"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"warm_start": "frist"}, r"There is no campaign 'frist'.*Did you mean 'first'"),
        (
            {"warm_start": "first", "objective": "neutral_rank_ic"},
            "it maximises rank_ic, this campaign neutral_rank_ic",
        ),
    ],
)
def test_what_cannot_be_started_from_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    config, space = configuration("second", 6, **changes)
    with pytest.raises(UsageError, match=said):
        recalled(stores_with(tmp_path), config, space)


def test_another_sampler_reads_no_memory() -> None:
    with pytest.raises(ValueError, match=r"no effect with sampler\.name=tpe"):
        SearchConfig.model_validate({"warm_start": "first", "sampler": {"name": "tpe"}})
    with pytest.raises(ValueError, match="names the campaign itself"):
        SearchConfig.model_validate({"study": "first", "warm_start": "first"})
