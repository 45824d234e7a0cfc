"""Constraints in a search: measured on every trial, told to Optuna, kept by what is chosen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from support.simulated import SPACE, SimulatedRunner, configuration, worker

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.cli.progress import best_score, describe
from hpo.domain.campaign import Outcome, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.domain.failures import is_infeasible
from hpo.domain.metric import Metric
from hpo.engine.constraints import check_constraints, measured
from hpo.engine.tiers import is_unfit
from hpo.runs.entries import EpochRecord
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.inspection.explanations import explain
from hpo.usecases.records import Stores
from search_spaces import Constraint, Space, parse_space


def limited(*lines: str) -> Space:
    return parse_space(SPACE + "constraints:\n" + "".join(f"  {line}\n" for line in lines), "limited", "a test")


def searched(home: Path, space: Space, **changes: object) -> Stores:
    """A simulated campaign of twelve trials, none of them pruned."""
    stores = Stores(home, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())
    config: SearchConfig = configuration("night", 12, pruner={"name": "nop"}, **changes)[0]
    identity = WorkerIdentity("host", 1, 0.0)
    worker(stores.ledger, stores.storage, home, config, space, SimulatedRunner(), identity).run()
    return stores


def test_names_that_nothing_is_measured_by_are_refused() -> None:
    check_constraints(limited("num_parameters: 9", "seconds: 9", "rank_ic: 1", "train/loss: 1"), [Metric("rank_ic")])
    with pytest.raises(UsageError, match=r"constraint 'parameters' is on nothing.*Did you mean 'num_parameters'"):
        check_constraints(limited("parameters: 9"), [Metric("rank_ic")])


def test_figures_are_measured_as_scores_are() -> None:
    now = datetime.now(UTC)
    figures = [{"valid/rank_ic": 0.1 * n, "valid/rmse": -0.5, "train/loss": 1.0} for n in (1, 2, 3)]
    epochs = [EpochRecord(n, now, 0.1, 2.0, each) for n, each in enumerate(figures, 1)]
    metrics = [Metric("rank_ic"), Metric("rmse", direction="minimize")]

    def figure(name: str) -> float | None:
        return measured(Constraint(name, at_most=1), 500, epochs, metrics, 2)

    assert (figure("num_parameters"), figure("seconds"), figure("train/loss")) == (500, 6.0, 1.0)
    assert figure("rank_ic") == pytest.approx(0.25)
    assert figure("rmse") == 0.5, "in its own direction, as a person limits it"
    assert figure("system/memory_bytes") is None


@pytest.mark.parametrize("mode", ["joint", "strict"])
def test_a_trial_that_breaks_a_constraint_is_not_chosen(tmp_path: Path, mode: str) -> None:
    free = searched(tmp_path / "free", limited("num_parameters: 1e9"), tiers={"mode": mode})
    scores = [view.score or 0.0 for view in free.ledger.slots(free.find("night").id)]
    limit = sorted(scores)[-4]
    stores = searched(tmp_path, limited(f"rank_ic: {limit}"), tiers={"mode": mode})
    campaign = stores.find("night")
    views = stores.ledger.slots(campaign.id)
    unwanted = [view for view in views if is_infeasible(view)]
    assert unwanted
    assert all(view.outcome is Outcome.COMPLETE and (view.score or 0.0) > limit for view in unwanted)
    assert (best_score(views) or 0.0) <= limit
    assert "infeasible: rank_ic at most" in describe(unwanted[0], "RankIC")
    chosen = [decision["slot"] for decision in campaign.decisions.values()]
    assert not set(chosen) & {view.slot for view in unwanted}
    study = optuna.load_study(study_name="night/1-capacity", storage=stores.storage)
    told = {trial.user_attrs["slot"]: trial.constraints["rank_ic"] for trial in study.trials}
    own = {view.slot: view for view in views if view.tier == 1}
    assert all((told[slot] > 0) == is_infeasible(view) for slot, view in own.items())
    said = {each.slot: each.ended for each in explain(stores, campaign)}
    assert said[unwanted[0].slot].endswith(str(unwanted[0].reason))


def test_nothing_is_chosen_where_nothing_keeps_the_constraints(tmp_path: Path) -> None:
    stores = searched(tmp_path, limited("rank_ic: -9"))
    campaign = stores.find("night")
    last = campaign.decisions[len(campaign.spec.tiers)]
    assert last["slot"] is None
    assert "No complete trial keeps the constraints, so the defaults stand." in last["reason"]


def test_a_figure_that_a_training_does_not_report_fails_it(tmp_path: Path) -> None:
    stores = searched(tmp_path, limited("train/nothing: 1"))
    views = stores.ledger.slots(stores.find("night").id)
    assert {view.outcome for view in views} == {Outcome.FAILED}
    assert views[0].reason == "missing_metric: the training reports no 'train/nothing', which the space constrains"


def test_a_metric_called_memory_is_no_refusal_for_want_of_memory() -> None:
    def ended(curve: dict[int, float]) -> optuna.trial.FrozenTrial:
        state = optuna.trial.TrialState.PRUNED
        return optuna.trial.create_trial(state=state, value=0.1, constraints={"memory": 1.0}, intermediate_values=curve)

    assert is_unfit(ended({}))
    assert not is_unfit(ended({1: 0.1}))
