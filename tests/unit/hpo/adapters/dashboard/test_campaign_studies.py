"""A campaign's study holds every trial once, as people know it; however it came about, and whoever disturbed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from support.simulated import SimulatedRunner, configuration, worker

from hpo.adapters.dashboard import statements
from hpo.adapters.dashboard.campaign_studies import MARK, CampaignStudies
from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.postgres.urls import url_for
from hpo.domain.campaign import Campaign, Outcome, WorkerIdentity
from hpo.domain.errors import UsageError
from hpo.domain.ports import TrialEnd

NUM_TRIALS = 10


class Killed(BaseException):
    """Stands for the death of the process."""


class Search:
    """A campaign `night` on made-up curves."""

    def __init__(self, ledger: PostgresLedger, storage: Any, home: Path) -> None:
        self.ledger, self.storage, self._home, self._starts = ledger, storage, home, 0

    def run(self, runner: SimulatedRunner | None = None, num_trials: int = NUM_TRIALS) -> Campaign:
        self._starts += 1
        config, space = configuration("night", num_trials)
        identity = WorkerIdentity("host", self._starts, 0.0)
        chosen = runner or SimulatedRunner()

        def is_dead(other: WorkerIdentity) -> bool:
            return other.pid != identity.pid

        worker(self.ledger, self.storage, self._home, config, space, chosen, identity, is_dead).run()
        return self.campaign

    @property
    def campaign(self) -> Campaign:
        found = self.ledger.find_campaign("night")
        assert found is not None
        return found


@pytest.fixture
def search(ledger: PostgresLedger, storage: Any, tmp_path: Path) -> Search:
    return Search(ledger, storage, tmp_path)


@pytest.fixture
def opened(database_url: str) -> Iterator[Callable[[], CampaignStudies]]:
    """Makes the studies' keeper of one more process."""
    storages = []

    def make_storage() -> Any:
        storages.append(study_storage(database_url))
        return storages[-1]

    yield lambda: CampaignStudies(make_storage)
    for storage in storages:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def load(database_url: str) -> Callable[[], optuna.Study]:
    """The study as a user opens it: by its name, with nothing of ours."""
    url = url_for(database_url, "optuna", "a-user")
    return lambda: optuna.load_study(study_name="night", storage=url)


def content(trial: FrozenTrial) -> str:
    """All of a trial but for Optuna's id of it, and the order in which it was told."""
    parts = {name: value for name, value in sorted(vars(trial).items()) if name != "_trial_id"}
    return repr({name: sorted(part.items()) if isinstance(part, dict) else part for name, part in parts.items()})


def contents(study: optuna.Study) -> list[str]:
    return [content(trial) for trial in study.trials]


def test_every_trial_is_there_once_under_its_number_with_its_real_values(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    campaign = search.run()
    assert opened().sync(campaign) == NUM_TRIALS
    study = load()
    assert [trial.number for trial in study.trials] == list(range(1, NUM_TRIALS + 1))
    slots = {slot.slot: slot for slot in search.ledger.slots(campaign.id)}
    assert {Outcome.COMPLETE, Outcome.PRUNED} == {slot.outcome for slot in slots.values()}
    tiers = {tier.number: tier for tier in campaign.spec.tiers}
    for trial in study.trials:
        slot = slots[trial.number]
        tier = tiers[slot.tier]
        own = optuna.load_study(study_name=tier.study_name("night"), storage=search.storage).trials[slot.trial_number]
        assert trial.state.name.lower() == slot.outcome
        assert trial.value == pytest.approx(slot.score)
        assert trial.params == own.user_attrs["values"]
        assert trial.intermediate_values == own.intermediate_values
        assert (trial.datetime_start, trial.datetime_complete) == (own.datetime_start, own.datetime_complete)
        assert trial.user_attrs["tier"] == tier.name
        assert trial.user_attrs["optuna_trial"] == f"{tier.study_name('night')}#{slot.trial_number}"
        assert not {"slot", "values", "train.batch_size", "copied_from"} & trial.user_attrs.keys()
    assert study.trials[0].distributions["train.batch_size"] == CategoricalDistribution((1024, 2048, 4096))


def test_a_user_asks_it_as_any_study(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    campaign = search.run()
    opened().sync(campaign)
    study = load()
    scores = {slot.slot: slot.score for slot in search.ledger.slots(campaign.id) if slot.outcome is Outcome.COMPLETE}
    best = max(scores, key=lambda slot: scores[slot] or 0.0)
    assert (study.best_trial.number, study.best_value) == (best, scores[best])
    assert study.best_params.keys() == study.trials[0].params.keys()
    table = study.trials_dataframe()
    assert list(table["number"]) == list(range(1, NUM_TRIALS + 1))
    assert set(table["params_model.hidden_size"]) <= {16, 32, 64}
    assert study.metric_names == ["RankIC"]
    assert set(optuna.importance.get_param_importances(study)) <= study.best_params.keys()


def test_a_second_pass_writes_nothing_in_this_process_and_in_another(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    campaign = search.run()
    studies = opened()
    studies.sync(campaign)
    before = contents(load())
    assert studies.sync(campaign) == 0
    studies.close()
    assert studies.sync(campaign) == 0
    assert contents(load()) == before


def test_nothing_is_made_before_a_trial_began(search: Search, opened: Callable[[], CampaignStudies]) -> None:
    campaign = search.run(num_trials=2)
    assert opened().sync(Campaign(99, replace(campaign.spec, name="later"), campaign.state)) == 0
    assert "later" not in optuna.get_all_study_names(search.storage)


def test_following_gives_what_catching_up_gives(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    follower = opened()
    seen: list[tuple[int, str]] = []

    def follow(folder: Path, epoch: int) -> None:
        follower.sync(search.campaign)
        newest = load().trials[-1]
        seen.append((len(newest.intermediate_values), newest.state.name))

    campaign = search.run(SimulatedRunner(follow))
    assert max(seen)[0] >= 3
    assert {state for _, state in seen} == {"RUNNING"}
    follower.sync(campaign)
    followed = contents(load())
    opened().delete(campaign)
    assert "night" not in optuna.get_all_study_names(search.storage)
    opened().sync(campaign)
    assert contents(load()) == followed


@pytest.mark.parametrize("statement", ["make", "remove_strays", "put"])
def test_killed_at_any_moment_it_is_made_again_to_the_same_content(
    statement: str,
    search: Search,
    opened: Callable[[], CampaignStudies],
    load: Callable[[], optuna.Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    campaign = search.run()
    opened().sync(campaign)
    whole = contents(load())
    original = getattr(statements, statement)
    for moment in (0,) if statement != "put" else (0, 4, NUM_TRIALS - 1):
        for is_before in (True, False):
            opened().delete(campaign)
            calls = iter(range(1000))

            def die(*arguments: Any, **options: Any) -> Any:
                is_now = next(calls) == moment  # noqa: B023  # it is called within its turn
                if is_now and is_before:  # noqa: B023
                    raise Killed
                answer = original(*arguments, **options)
                if is_now:
                    raise Killed
                return answer

            with monkeypatch.context() as patch:
                patch.setattr(statements, statement, die)
                with pytest.raises(Killed):
                    opened().sync(campaign)
            opened().sync(campaign)
            assert contents(load()) == whole


def test_what_is_changed_by_hand_is_put_right(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    campaign = search.run()
    opened().sync(campaign)
    whole = contents(load())
    study = load()
    study.add_trial(optuna.create_trial(value=9.0))
    study.enqueue_trial({"optim.lr": 1e-3})
    with search.storage.engine.begin() as connection:
        for table, condition in (("trial_params", "param_name = 'optim.lr'"), ("trial_values", "true")):
            connection.exec_driver_sql(
                f"DELETE FROM {table} WHERE {condition} AND trial_id IN "
                f"(SELECT trial_id FROM trials WHERE study_id = {study._study_id} AND number < 5)"
            )
    assert contents(load()) != whole
    opened().sync(campaign)
    assert contents(load()) == whole


def test_two_processes_at_once_leave_what_one_leaves(
    search: Search,
    opened: Callable[[], CampaignStudies],
    load: Callable[[], optuna.Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    campaign = search.run()
    both = [opened() for _ in range(2)]
    place, _ = (studies.study(campaign)._study_id for studies in both)
    barrier, original = Barrier(2), statements.read_numbers

    def look_together(*arguments: Any) -> Any:
        """Unless only one may look at a time."""
        found = original(*arguments)
        with suppress(BrokenBarrierError):
            barrier.wait(3.0)
        return found

    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(statements, "read_numbers", look_together)
        written = [future.result() for future in [pool.submit(studies.sync, campaign) for studies in both]]
    assert sorted(written) == [0, NUM_TRIALS]
    with search.storage.engine.begin() as connection:
        rows = connection.exec_driver_sql(f"SELECT count(*) FROM trials WHERE study_id = {place}").scalar()
    assert rows == NUM_TRIALS
    together = contents(load())
    opened().delete(campaign)
    opened().sync(campaign)
    assert contents(load()) == together


def test_the_search_never_reads_it(
    search: Search, opened: Callable[[], CampaignStudies], storage: Any, ledger: PostgresLedger
) -> None:
    studies = opened()

    def spoil(folder: Path, epoch: int) -> None:
        studies.close()
        studies.sync(search.campaign)
        study = optuna.load_study(study_name="night", storage=storage)
        study.add_trial(optuna.create_trial(value=1e6, user_attrs={"slot": 1, "values": {}}))

    def told() -> list[str]:
        campaign = search.campaign
        names = [tier.study_name("night") for tier in campaign.spec.tiers]
        trials = [t for name in names for t in optuna.load_study(study_name=name, storage=storage).trials]
        return [repr((t.number, t.state, t.values, t.params, t.user_attrs, t.intermediate_values)) for t in trials]

    search.run(SimulatedRunner(spoil))
    disturbed = told()
    for name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
    ledger.delete_campaign(search.campaign.id, lambda: None)
    search.run()
    assert told() == disturbed


def test_a_trial_that_is_tried_again_keeps_its_number(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    class Broken(SimulatedRunner):
        def run(self, *args: Any) -> TrialEnd:
            return TrialEnd("failed", reason="error", message="a bug")

    campaign = search.run(Broken())
    studies = opened()
    studies.sync(campaign)
    assert {trial.state for trial in load().trials} == {TrialState.FAIL}
    assert all(trial.user_attrs["reason"] == "error: a bug" for trial in load().trials)
    search.ledger.retry(campaign.id, range(1, NUM_TRIALS + 1))
    studies.sync(search.run())
    again = load().trials
    assert [trial.number for trial in again] == list(range(1, NUM_TRIALS + 1))
    assert TrialState.FAIL not in {trial.state for trial in again}
    assert not any("reason" in trial.user_attrs or "retry_of" in trial.user_attrs for trial in again)


def test_a_slot_that_was_passed_over_keeps_its_place(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    def die(folder: Path, epoch: int) -> None:
        if folder.parent.name == "slot-0003":
            raise Killed

    with pytest.raises(Killed):
        search.run(SimulatedRunner(die))
    first = optuna.load_study(study_name="night/1-capacity", storage=search.storage)
    late = first.trials[1]  # as if the second slot's worker had been slower than the third's
    with search.storage.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE trial_user_attributes SET value_json = '4' WHERE trial_id = {late._trial_id} AND key = 'slot'"
        )
    studies = opened()
    studies.sync(search.campaign)
    assert [(trial.number, trial.state.name) for trial in load().trials] == [
        (1, "COMPLETE"),
        (2, "WAITING"),
        (3, "RUNNING"),
        (4, late.state.name),
    ]
    assert load().trials[1].user_attrs == {"tier": "capacity"}


def test_a_study_of_somebody_elses_is_left_alone(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    campaign = search.run(num_trials=2)
    optuna.create_study(study_name="night", storage=search.storage).add_trial(optuna.create_trial(value=1.0))
    studies = opened()
    with pytest.raises(UsageError, match="not the campaign's"):
        studies.sync(campaign)
    assert studies.study_id(campaign) is None
    studies.delete(campaign)
    assert [trial.value for trial in load().trials] == [1.0]


def test_another_campaign_of_the_name_begins_with_nothing(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    campaign = search.run(num_trials=2)
    opened().sync(campaign)
    load().set_user_attr("mine", "note")
    later = Campaign(campaign.id + 1, campaign.spec, campaign.state)
    opened().sync(later)
    assert load().user_attrs == {"campaign": "night", MARK: later.id}


def test_a_study_that_was_deleted_is_made_again(
    search: Search, opened: Callable[[], CampaignStudies], load: Callable[[], optuna.Study]
) -> None:
    studies = opened()
    studies.sync(search.run(num_trials=3))
    optuna.delete_study(study_name="night", storage=search.storage)
    campaign = search.run(num_trials=3)
    search.ledger.raise_budget(campaign.id, 4)
    search.run(num_trials=4)
    with pytest.raises(KeyError):
        studies.sync(search.campaign)
    assert studies.sync(search.campaign) == 4
    assert len(load().trials) == 4
