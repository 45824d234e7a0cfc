"""A campaign with simulated training on a real Postgres: budget, tiers, pruning, drains and deaths."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from support.simulated import SimulatedRunner, configuration, worker
from support.training import NUM_EPOCHS

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.domain.campaign import Outcome, SlotState, WorkerIdentity
from hpo.domain.failures import retriable
from hpo.domain.ledger_invariants import invariants
from hpo.domain.ports import TrialEnd
from hpo.engine.tiers import COPIED_FROM, SLOT
from hpo.runs.folder import SlotFolder, campaign_folder

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Killed(BaseException):
    """Stands for the death of the whole worker process: nothing below catches it."""


@pytest.fixture
def start(ledger: PostgresLedger, storage: Any, tmp_path: Path) -> Callable[..., None]:
    """Run one worker of a campaign to its end; each start is another process as far as the ledger knows."""
    starts = iter(range(1, 1000))

    def run(name: str, num_trials: int, runner: SimulatedRunner | None = None, **more: Any) -> None:
        changes = {"worker": more.pop("settings", {}), **more.pop("changes", {})}
        config, space = configuration(name, num_trials, **changes)
        identity = WorkerIdentity("host", next(starts), 0.0)
        dead = more.pop("is_dead", lambda other: other.pid != identity.pid)
        own = worker(ledger, storage, tmp_path, config, space, runner or SimulatedRunner(), identity, dead, **more)
        own.run()

    return run


def trials_of(ledger: PostgresLedger, storage: Any, name: str) -> dict[int, list[optuna.trial.FrozenTrial]]:
    """Slot -> the Optuna trials that belong to it, copies apart."""
    campaign = ledger.find_campaign(name)
    assert campaign is not None
    found: dict[int, list[optuna.trial.FrozenTrial]] = {}
    for tier in campaign.spec.tiers:
        for trial in optuna.load_study(study_name=tier.study_name(name), storage=storage).trials:
            if COPIED_FROM not in trial.user_attrs:
                found.setdefault(trial.user_attrs[SLOT], []).append(trial)
    return found


def history(ledger: PostgresLedger, storage: Any, name: str) -> list[tuple[Any, ...]]:
    """All that a campaign found out, without times and identities."""
    return [
        (slot, trial.state, trial.params, trial.intermediate_values, trial.value)
        for slot, trials in sorted(trials_of(ledger, storage, name).items())
        for trial in trials
    ]


def test_a_campaign_ends_with_exactly_its_budget(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    start("full", 20)

    campaign = ledger.find_campaign("full")
    assert campaign is not None
    slots = ledger.slots(campaign.id)
    assert [slot.state for slot in slots] == [SlotState.DONE] * 20
    assert {slot.outcome for slot in slots} == {Outcome.COMPLETE, Outcome.PRUNED}
    assert sorted(campaign.decisions) == [1, 2, 3, 4]
    trials = trials_of(ledger, storage, "full")
    assert sorted(trials) == list(range(1, 21))
    assert all(len(own) == 1 for own in trials.values())
    for slot in slots:
        trial = trials[slot.slot][0]
        assert trial.state is (TrialState.COMPLETE if slot.outcome is Outcome.COMPLETE else TrialState.PRUNED)
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))


def test_the_first_trial_is_the_default_configuration(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    start("first", 4)

    _, space = configuration("first", 4)
    assert trials_of(ledger, storage, "first")[1][0].user_attrs["values"] == space.defaults()


def test_every_later_tier_starts_with_the_incumbent_marked_as_a_copy(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    start("copies", 12)

    campaign = ledger.find_campaign("copies")
    assert campaign is not None
    for tier in campaign.spec.tiers[1:]:
        study = optuna.load_study(study_name=tier.study_name("copies"), storage=storage)
        copies = [trial for trial in study.trials if COPIED_FROM in trial.user_attrs]
        sources = [trial.user_attrs[COPIED_FROM] for trial in copies]
        assert campaign.decisions[tier.number - 1]["source"] in sources
        assert len(set(sources)) == len(sources)


def test_a_tier_holds_what_the_one_before_decided(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    start("held", 12, changes={"tiers": {"mode": "strict"}})

    campaign = ledger.find_campaign("held")
    assert campaign is not None
    decided = campaign.decisions[1]["values"]
    second = [slot.slot for slot in ledger.slots(campaign.id) if slot.tier == 2]
    for slot in second:
        values = trials_of(ledger, storage, "held")[slot][0].user_attrs["values"]
        assert {name: values[name] for name in ("optim.lr", "train.batch_size", "model.hidden_size")} == {
            name: decided[name] for name in ("optim.lr", "train.batch_size", "model.hidden_size")
        }


@pytest.mark.parametrize("deaths", [[("slot-0001", 3)], [("slot-0002", 1), ("slot-0004", 2), ("slot-0009", 2)]])
def test_a_search_that_is_killed_ends_where_the_undisturbed_one_ends(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any, deaths: list[tuple[str, int]]
) -> None:
    start("calm", 12)
    pending = set(deaths)

    def die(folder: Path, epoch: int) -> None:
        if (folder.parent.name, epoch) in pending:
            pending.remove((folder.parent.name, epoch))
            raise Killed

    runner = SimulatedRunner(die)
    for _ in deaths:
        with pytest.raises(Killed):
            start("stormy", 12, runner)
    start("stormy", 12, runner)

    assert history(ledger, storage, "stormy") == history(ledger, storage, "calm")
    assert len(runner.trained) == len(set(runner.trained)), "no epoch is trained twice"


def test_a_drained_worker_releases_its_slot_and_the_next_goes_on_from_the_same_epoch(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any, tmp_path: Path
) -> None:
    drain = threading.Event()

    def stop_in_the_middle(folder: Path, epoch: int) -> None:
        if (folder.parent.name, epoch) == ("slot-0002", 4):
            drain.set()

    runner = SimulatedRunner(stop_in_the_middle)
    start("drained", 6, runner, drain=drain)
    campaign = ledger.find_campaign("drained")
    assert campaign is not None
    slot = ledger.slots(campaign.id)[1]
    assert (slot.state, slot.num_crashes) == (SlotState.OPEN, 0)

    start("drained", 6, runner)
    assert all(slot.state is SlotState.DONE for slot in ledger.slots(campaign.id))
    epochs = [epoch for name, epoch in runner.trained if name == "slot-0002"]
    assert epochs == sorted(set(epochs))
    attempt = SlotFolder(campaign_folder(tmp_path, "drained"), 2).current()
    assert attempt is not None
    assert [record.epoch for record in attempt.epochs()] == list(range(1, len(epochs) + 1))


class Mortal(SimulatedRunner):
    """A runner whose trials die while it lives."""

    def run(self, *args: Any) -> TrialEnd:
        try:
            return super().run(*args)
        except Killed:
            return TrialEnd("died", reason="killed", message="killed")


def killing(epochs: Iterator[int]) -> Callable[[Path, int], None]:
    """Slot 2 dies whenever it begins the next of these epochs."""
    fatal = next(epochs)

    def die(folder: Path, epoch: int) -> None:
        nonlocal fatal
        if (folder.parent.name, epoch) == ("slot-0002", fatal):
            fatal = next(epochs, 0)
            raise Killed

    return die


def test_a_trial_whose_process_dies_three_times_at_one_epoch_is_failed_and_the_search_goes_on(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    start("poison", 6, Mortal(killing(repeat(3))))

    campaign = ledger.find_campaign("poison")
    assert campaign is not None
    slots = ledger.slots(campaign.id)
    assert [slot.state for slot in slots] == [SlotState.DONE] * 6
    assert (slots[1].outcome, slots[1].fence) == (Outcome.FAILED, 4)
    assert str(slots[1].reason).startswith("poison: ")
    assert trials_of(ledger, storage, "poison")[2][0].state is TrialState.FAIL


def test_a_trial_that_finishes_epochs_between_its_deaths_is_not_given_up(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    start("calm", 6)
    start("mortal", 6, Mortal(killing(iter((1, 1, 2, 2, 3, 3, 4, 5)))))

    assert history(ledger, storage, "mortal") == history(ledger, storage, "calm")


def test_a_trial_that_takes_its_worker_down_every_time_ends_at_last(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    def die(folder: Path, epoch: int) -> None:
        if folder.parent.name == "slot-0002":
            raise Killed

    for _ in range(5):
        with pytest.raises(Killed):
            start("costly", 6, SimulatedRunner(die), settings={"max_losses": 5})
    start("costly", 6, SimulatedRunner(die), settings={"max_losses": 5})

    campaign = ledger.find_campaign("costly")
    assert campaign is not None
    outcomes = [slot.outcome for slot in ledger.slots(campaign.id)]
    assert outcomes[1] is Outcome.FAILED
    assert outcomes.count(Outcome.FAILED) == 1


def test_failed_trials_that_are_tried_again_end_where_nothing_had_failed(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    class Broken(SimulatedRunner):
        def run(self, *args: Any) -> TrialEnd:
            return TrialEnd("failed", reason="error", message="a bug")

    start("calm", 6)
    start("broken", 6, Broken())
    campaign = ledger.find_campaign("broken")
    assert campaign is not None
    assert retriable(ledger.slots(campaign.id)) == list(range(1, 7))

    ledger.retry(campaign.id, range(1, 7))
    start("broken", 6)

    found = history(ledger, storage, "broken")
    assert [trial for trial in found if trial[1] is not TrialState.FAIL] == history(ledger, storage, "calm")
    assert len(found) == 12
    assert invariants(ledger, campaign.id) == []
    decisions = [ledger.find_campaign(name).decisions for name in ("broken", "calm")]  # type: ignore[union-attr]
    assert [decision["num_trials"] for decision in decisions[0].values()] == [
        decision["num_trials"] for decision in decisions[1].values()
    ]


def test_four_workers_share_a_budget_exactly_and_never_propose_twice(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any
) -> None:
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(start, "shared", 20, is_dead=lambda other: False) for _ in range(4)]
        for future in futures:
            future.result(timeout=120)

    trials = trials_of(ledger, storage, "shared")
    assert sorted(trials) == list(range(1, 21))
    assert all(len(own) == 1 and own[0].state.is_finished() for own in trials.values())
    configurations = [repr(sorted(own[0].user_attrs["values"].items())) for own in trials.values()]
    assert len(set(configurations)) == 20


def test_a_budget_that_is_raised_while_a_tier_is_decided_is_worked_off(
    start: Callable[..., None], ledger: PostgresLedger, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, raised = ledger.decide_tier, []

    def raise_first(campaign_id: int, tier: int, decision: Any) -> Any:
        if tier == 4 and not raised:
            raised.append(ledger.raise_budget(campaign_id, 12))
        return decide(campaign_id, tier, decision)

    monkeypatch.setattr(ledger, "decide_tier", raise_first)
    start("raised", 10)

    campaign = ledger.find_campaign("raised")
    assert campaign is not None
    assert [slot.state for slot in ledger.slots(campaign.id)] == [SlotState.DONE] * 12
    assert sorted(campaign.decisions) == [1, 2, 3, 4]


def test_no_epoch_beyond_the_curve(start: Callable[..., None], ledger: PostgresLedger, storage: Any) -> None:
    start("short", 3)

    for own in trials_of(ledger, storage, "short").values():
        assert max(own[0].intermediate_values) <= NUM_EPOCHS
