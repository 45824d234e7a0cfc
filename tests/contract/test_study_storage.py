"""Our statements on Optuna's tables say and read what Optuna's own do; the cache answers as Optuna's own would."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import event

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import PatientStorage, study_storage
from hpo.adapters.postgres.urls import url_for
from hpo.domain.campaign import CampaignSpec, Progress, TierPlan, WorkerIdentity
from hpo.domain.config import PrunerConfig
from hpo.engine.strategies.pruners import build_pruner
from hpo.engine.study_cache import StudyCache

STATES = (None, (TrialState.COMPLETE,), (TrialState.RUNNING,), (TrialState.COMPLETE, TrialState.RUNNING), ())
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "drop": FloatDistribution(0.0, 0.5, step=0.1),
    "width[index]": IntDistribution(0, 3),
    "kind": CategoricalDistribution(("a", None, 3, True)),
}
PARAMS = {"lr": 0.1 + 0.2, "drop": 0.3, "width[index]": 2, "kind": None}


@pytest.fixture
def storage(database_url: str) -> Iterator[PatientStorage]:
    storage = study_storage(database_url)
    assert isinstance(storage, PatientStorage)
    yield storage
    storage.remove_session()
    assert storage.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # QueuePool's, not Pool's
    storage.engine.dispose()


@pytest.fixture
def theirs(database_url: str) -> Iterator[RDBStorage]:
    storage = RDBStorage(url_for(database_url, "optuna"), skip_table_creation=True)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def study(storage: PatientStorage) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=StudyCache(storage), direction="maximize")


def fields(trials: list[FrozenTrial]) -> list[str]:
    """Everything there is to a trial; NaN equals itself here, and only parameters have an order."""

    def ordered(name: str, value: object) -> object:
        if isinstance(value, dict) and name not in ("_params", "_distributions"):
            return sorted(value.items())
        return value

    return [repr([(name, ordered(name, value)) for name, value in sorted(vars(trial).items())]) for trial in trials]


def whole_trial(value: float, **more: object) -> FrozenTrial:
    curve = {1: 1e-300, 2: math.nan, 3: math.inf, 5: -math.inf, 4: 1.0}
    attrs = {"slot": 3, "values": {"a.b": [1, None, "é'\""]}, "none": None}
    return create_trial(
        value=value,
        params=PARAMS,
        distributions=DISTRIBUTIONS,
        intermediate_values=curve,
        user_attrs=attrs,
        system_attrs={"rung": 0.5, "text": "x" * 3000},
        **more,  # type: ignore[arg-type]
    )


def fill(study: optuna.Study) -> None:
    for value in (0.5, math.inf, -1.0, math.inf):
        study.add_trial(whole_trial(value))
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.add_trial(whole_trial(0.25, state=TrialState.PRUNED))
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"slot": 1}))
    study.enqueue_trial({"lr": 0.1})


def test_a_trial_is_read_as_optuna_reads_it(study: optuna.Study, storage: PatientStorage, theirs: RDBStorage) -> None:
    fill(study)
    read = storage.get_all_trials(study._study_id)
    assert fields(read) == fields(theirs.get_all_trials(study._study_id))
    for trial in read:
        assert fields([storage.get_trial(trial._trial_id)]) == fields([theirs.get_trial(trial._trial_id)])
    with pytest.raises(KeyError):
        storage.get_trial(10**9)


def test_what_is_written_is_what_optuna_would_have_written(study: optuna.Study, theirs: RDBStorage) -> None:
    study.add_trial(create_trial(state=TrialState.RUNNING, params=PARAMS, distributions=DISTRIBUTIONS))
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"slot": 1}))
    cache = study._storage
    assert isinstance(cache, StudyCache)
    for running in study.get_trials():
        trial = optuna.Trial(study, running._trial_id)
        with cache.together(trial._trial_id):
            for name, distribution in DISTRIBUTIONS.items():
                trial._suggest(name, distribution)
            trial.set_user_attr("values", {"a.b": 1})
            assert theirs.get_trial(trial._trial_id).user_attrs.get("values") is None
        for step, value in ((1, 0.5), (2, math.inf), (3, -math.inf), (4, 0.1 + 0.2)):
            trial.report(value, step)
        with cache.together(trial._trial_id):
            trial.set_user_attr("last_epoch", 4)
            study.tell(trial, 0.1 + 0.2)
        read = theirs.get_trial(trial._trial_id)
        assert read.params == trial.params
        assert list(read.params) == list(DISTRIBUTIONS)
        assert read.distributions == DISTRIBUTIONS
        assert read.intermediate_values == {1: 0.5, 2: math.inf, 3: -math.inf, 4: 0.1 + 0.2}
        assert (read.state, read.value) == (TrialState.COMPLETE, 0.1 + 0.2)
        assert {"values", "last_epoch"} <= read.user_attrs.keys()
        assert read.datetime_start is not None
        assert read.datetime_complete is not None
        assert timedelta() <= read.datetime_complete - read.datetime_start < timedelta(minutes=1)
    assert [trial.number for trial in theirs.get_all_trials(study._study_id)] == [0, 1]


def test_after_an_error_nothing_of_what_belongs_together_is_written(study: optuna.Study, theirs: RDBStorage) -> None:
    trial, cache = study.ask(), study._storage
    assert isinstance(cache, StudyCache)

    def fail() -> None:
        with cache.together(trial._trial_id):
            trial.suggest_float("x", 0, 1)
            trial.set_user_attr("a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    read = theirs.get_trial(trial._trial_id)
    assert (read.params, read.user_attrs) == ({}, {})
    trial.set_user_attr("b", 2)
    assert theirs.get_trial(trial._trial_id).user_attrs == {"b": 2}


def test_a_finished_trial_is_not_written_to(study: optuna.Study, storage: PatientStorage) -> None:
    trial = study.ask()
    study.tell(trial, 1.0)
    before = fields(storage.get_all_trials(study._study_id))
    for write in (
        lambda: storage.write_trial(trial._trial_id, {"x": (0.5, FloatDistribution(0, 1))}, {"a": 1}),
        lambda: storage.set_trial_intermediate_value(trial._trial_id, 1, 0.5),
        lambda: storage.set_trial_state_values(trial._trial_id, TrialState.FAIL, None, {"a": 1}),
    ):
        with pytest.raises(UpdateFinishedTrialError):
            write()
    assert fields(storage.get_all_trials(study._study_id)) == before


def test_trials_made_at_once_are_numbered_without_gaps(
    study: optuna.Study, storage: PatientStorage, database_url: str
) -> None:
    other = optuna.create_study(study_name="other", storage=storage)
    template = create_trial(state=TrialState.RUNNING, user_attrs={"slot": 1})

    def make(_: int) -> None:
        own = study_storage(database_url)
        for study_id in (study._study_id, other._study_id) * 5:
            own.create_new_trial(study_id, template)
        own.engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))
    for study_id in (study._study_id, other._study_id):
        assert sorted(trial.number for trial in storage.get_all_trials(study_id)) == list(range(20))
    with pytest.raises(KeyError):
        storage.create_new_trial(10**9, template)


def test_the_cache_answers_as_optuna_does(study: optuna.Study, storage: PatientStorage, theirs: RDBStorage) -> None:
    cache = study._storage
    with pytest.raises(ValueError, match="No trials are completed"):
        cache.get_best_trial(study._study_id)

    def same() -> None:
        for states in STATES:
            expected = sorted(theirs.get_all_trials(study._study_id, states=states), key=lambda trial: trial.number)
            assert fields(cache.get_all_trials(study._study_id, states=states)) == fields(expected)

    same()
    fill(study)
    same()
    assert cache.get_best_trial(study._study_id).number == 1, "the first of the best"
    elsewhere = optuna.load_study(study_name="s", storage=theirs)
    asked = [elsewhere.ask() for _ in range(4)]
    same()
    elsewhere.tell(asked[2], 0.1)
    same()
    asked[0].report(0.5, 1)
    elsewhere.tell(asked[0], state=TrialState.PRUNED)
    elsewhere.tell(asked[3], state=TrialState.FAIL)
    same()
    answer = cache.get_all_trials(study._study_id, deepcopy=False, states=(TrialState.COMPLETE,))
    answer.clear()
    same()


def test_an_epoch_is_three_statements(study: optuna.Study, storage: PatientStorage, database_url: str) -> None:
    """Renew the lease, report, see what has finished elsewhere; and a fresh trial is known after one more look."""
    study.pruner = build_pruner(PrunerConfig(), 10)
    ledger = PostgresLedger(database_url)
    campaign = ledger.open_campaign(CampaignSpec("s", {}, {}, (TierPlan(1, "only", 1),), 0)).id
    claim = ledger.claim(campaign, ledger.register_worker(campaign, WorkerIdentity("h", 1, 0.0)), timedelta(minutes=1))
    assert claim is not None
    trial = study.ask()
    trial.report(0.5, 1)
    trial.should_prune()
    statements: list[str] = []
    for engine in (storage.engine, ledger._engine):
        event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    ledger.renew(claim, timedelta(minutes=1), Progress(2, 0.5))
    trial.report(0.5, 2)
    trial.should_prune()
    ledger.close()
    assert len(statements) == 3, statements
