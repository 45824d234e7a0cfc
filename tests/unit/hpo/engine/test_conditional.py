"""Campaigns in which some dimensions exist under some choices alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from support.simulated import SimulatedRunner, configuration, worker

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.campaign import Outcome, WorkerIdentity
from hpo.domain.errors import UsageError
from hpo.engine.earlier import memory_of, remembered
from hpo.engine.parameters import conditions, distributions
from hpo.engine.stage import own_trials
from hpo.engine.tiers import VALUES, check_strict, existing
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.records import Stores
from search_spaces import Space, parse_space

SPACE = """
tiers:
  capacity:
    model.kind: {type: choice, choices: [atft_gat_fan, lightgbm], default: atft_gat_fan}
    optim.lr: {type: float, low: 1.0e-4, high: 3.0e-2, log: true, default: 2.0e-3, when: {model.kind: atft_gat_fan}}
    model.learning_rate: {type: float, low: 0.01, high: 0.3, log: true, default: 0.1, when: {model.kind: lightgbm}}
  regularisation:
    model.hidden_size:
      {type: choice, choices: [16, 32, 64], ordered: true, default: 32, when: {model.kind: atft_gat_fan}}
    model.num_leaves: {type: integer, low: 4, high: 64, default: 31, when: {model.kind: lightgbm}}
  training:
    train.patience: {type: integer, low: 1, high: 6, default: 3}
    model.num_neighbours: {type: choice, choices: [0, 4], ordered: true, default: 0, when: {model.kind: atft_gat_fan}}
    model.dropout: {type: float, low: 0.0, high: 0.4, default: 0.1, when: {model.num_neighbours: 4}}
"""
NETWORK = {"model.kind", "optim.lr", "model.hidden_size", "train.patience", "model.num_neighbours"}
TREES = {"model.kind", "model.learning_rate", "model.num_leaves", "train.patience"}


def space() -> Space:
    return parse_space(SPACE, "conditional", "a test")


def searched(home: Path, **changes: Any) -> Stores:
    stores = Stores(home, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())
    config, _ = configuration("night", 10, **changes)
    worker(
        stores.ledger, stores.storage, home, config, space(), SimulatedRunner(), WorkerIdentity("host", 1, 0.0)
    ).run()
    return stores


def own(stores: Stores) -> list[optuna.trial.FrozenTrial]:
    found: dict[int, optuna.trial.FrozenTrial] = {}
    for plan in stores.find("night").spec.tiers:
        trials = optuna.load_study(study_name=plan.study_name("night"), storage=stores.storage).trials
        found |= {slot: mine[0] for slot, mine in own_trials(trials).items()}
    return [found[slot] for slot in sorted(found)]


def expected(values: dict[str, Any]) -> set[str]:
    if values["model.kind"] == "lightgbm":
        return TREES
    return NETWORK | ({"model.dropout"} if values["model.num_neighbours"] == 4 else set())


SAMPLERS = ("joint", "tpe", "gp", "cmaes", "nsgaii", "qmc")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("sampler", "mode"), [*((name, "joint") for name in SAMPLERS), ("joint", "cumulative"), ("joint", "strict")]
)
def test_a_trial_has_what_exists_in_it_and_nothing_else(tmp_path: Path, sampler: str, mode: str) -> None:
    stores = searched(tmp_path, sampler={"name": sampler}, tiers={"mode": mode})
    assert {view.outcome for view in stores.ledger.slots(stores.find("night").id)} <= {
        Outcome.COMPLETE,
        Outcome.PRUNED,
    }
    trials = own(stores)
    assert len(trials) == 10
    for trial in trials:
        values = trial.user_attrs[VALUES]
        assert values.keys() == expected(values)
        params = {name.removesuffix("[index]") for name in trial.params}
        assert params <= values.keys()
        if mode == "joint":
            assert params == values.keys()
    assert trials[0].user_attrs[VALUES] == space().defaults()
    for decision in stores.find("night").decisions.values():
        assert decision["values"].keys() == expected(decision["values"])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return searched(tmp_path_factory.mktemp("conditional"))


def test_both_kinds_are_tried_and_each_begins_with_its_default(stores: Stores) -> None:
    trials = [trial.user_attrs[VALUES] for trial in own(stores)]
    kinds = [values["model.kind"] for values in trials]
    assert min(kinds.count(kind) for kind in ("atft_gat_fan", "lightgbm")) >= 2
    first = trials[kinds.index("lightgbm")]
    assert (first["model.learning_rate"], first["model.num_leaves"]) == (0.1, 31)


def test_the_same_campaign_proposes_the_same(stores: Stores, tmp_path: Path) -> None:
    assert [trial.params for trial in own(stores)] == [trial.params for trial in own(searched(tmp_path))]


def test_a_strict_tier_varies_what_exists_under_what_is_held() -> None:
    dimensions = space().tiers[1].dimensions
    assert [each.name for each in existing(dimensions, {"model.kind": "lightgbm"})] == ["model.num_leaves"]
    assert [each.name for each in existing(space().dimensions, {})] == [each.name for each in space().dimensions]
    check_strict(space())
    lines = [line for line in SPACE.splitlines() if "num_leaves" not in line]
    with pytest.raises(UsageError, match=r"'regularisation' would have nothing to tune where model\.kind is lightgbm"):
        check_strict(parse_space("\n".join(lines), "conditional", "a test"))


def test_conditions_are_told_in_parameters() -> None:
    assert conditions(space().dimensions)["model.dropout"] == {"model.num_neighbours[index]": (1,)}
    assert conditions(space().tiers[1].dimensions) == {}, "the parent is held there"


def test_an_earlier_campaign_is_remembered_as_far_as_its_values_exist_here(stores: Stores) -> None:
    memory = memory_of(own(stores))
    here = space().dimensions
    back = remembered(memory, here, distributions(here))
    assert [trial.params for trial in back] == [trial.params for trial in own(stores)]
    odd = [{**memory[0], "values": {"model.kind": "lightgbm", "optim.lr": 1e-3, "train.patience": 2}}]
    (only,) = remembered(odd, here, distributions(here))
    assert only.params == {"model.kind": "lightgbm", "train.patience": 2}
