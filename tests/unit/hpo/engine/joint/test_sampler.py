"""The joint sampler in anybody's plain Optuna study: it learns, and nothing odd in a study's results breaks it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from hpo.engine.joint import RECORD, JointSampler, proposals
from hpo.engine.joint.observations import Schedule

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "width": IntDistribution(8, 512, log=True),
    "depth": IntDistribution(1, 4),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
    "kind": CategoricalDistribution(("a", "b", "c")),
}


def quality(params: dict[str, Any]) -> float:
    """Highest, 0, at rate 1e-3, width 64, depth 3, share .5 and kind b."""
    away = [
        math.log10(params["rate"] / 1e-3) / 4,
        math.log(params["width"] / 64) / math.log(64),
        (params["depth"] - 3) / 3,
        params["share"] - 0.5,
        0.0 if params["kind"] == "b" else 0.5,
    ]
    return -sum(each**2 for each in away)


def search(
    num_trials: int, outcome: Callable[[int, dict[str, Any]], float | None], direction: str = "maximize", seed: int = 0
) -> optuna.Study:
    """A study as an impatient user runs it. outcome None: the trial fails."""
    study = optuna.create_study(direction=direction)
    for number in range(num_trials):
        study.sampler = JointSampler(seed=1000 * seed + number, budget=num_trials)
        trial = study.ask(SPACE)
        value = outcome(number, trial.params)
        study.tell(trial, value, state=TrialState.FAIL if value is None else None)
    return study


def best_regret(study: optuna.Study) -> float:
    return min(-quality(trial.params) for trial in study.get_trials(states=(TrialState.COMPLETE,)))


def test_it_finds_what_random_search_does_not() -> None:
    found = [best_regret(search(25, lambda number, params: quality(params), seed=seed)) for seed in range(3)]
    rng = np.random.default_rng(0)
    study = optuna.create_study()
    random = []
    for _ in range(300):
        study.sampler = optuna.samplers.RandomSampler(seed=int(rng.integers(2**31)))
        random.append(-quality(study.ask(SPACE).params))
    assert max(found) < np.quantile(random, 0.04), "the best of 25 random ones is the 4 % quantile"


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, -1e9), (-1.0, 5.0)])
def test_scale_shift_and_direction_do_not_matter(scale: float, shift: float) -> None:
    direction = "minimize" if scale < 0 else "maximize"
    study = search(20, lambda number, params: shift + scale * quality(params), direction)
    plain = search(20, lambda number, params: quality(params))
    assert best_regret(study) < 0.2
    assert [t.params for t in study.trials[:2]] == [t.params for t in plain.trials[:2]]


def test_trainings_that_diverged_do_not_hide_the_rest() -> None:
    """On five seeds, as one search in sixteen ends further away by luck."""
    studies = [
        search(24, lambda number, params: -300.0 if params["rate"] > 5e-3 else quality(params), seed=seed)
        for seed in range(5)
    ]
    assert np.median([best_regret(study) for study in studies]) < 0.1
    late = [trial.value for study in studies for trial in study.trials[12:]]
    assert late.count(-300.0) <= len(late) / 4


@pytest.mark.parametrize(
    "outcome",
    [
        lambda number, params: 1.0,
        lambda number, params: None if number % 3 == 1 else quality(params),
        lambda number, params: None,
        lambda number, params: [math.inf, -math.inf, 1e308, -1e308, 0.0][number % 5],
        lambda number, params: None if number < 5 else quality(params),
    ],
    ids=["all equal", "every third fails", "all fail", "not finite", "fails at first"],
)
def test_odd_results_break_nothing(outcome: Callable[[int, dict[str, Any]], float | None]) -> None:
    study = search(14, outcome)
    assert len({str(trial.params) for trial in study.trials}) > 5
    assert all(SPACE.keys() == trial.params.keys() for trial in study.trials)


def test_a_proposal_follows_from_trials_and_seed_alone() -> None:
    study = search(8, lambda number, params: quality(params))

    def proposed(seed: int) -> dict[str, Any]:
        again = optuna.create_study(direction="maximize", sampler=JointSampler(seed=seed, budget=20))
        again.add_trials(study.trials)
        return again.ask(SPACE).params

    assert proposed(3) == proposed(3)
    assert proposed(3) != proposed(4)


def test_a_trial_that_has_its_parameters_is_not_proposed_for_again() -> None:
    study = search(5, lambda number, params: quality(params))
    study.sampler = JointSampler(seed=1)
    trial = study.ask(SPACE)
    params, record = trial.params, study.trials[-1].system_attrs[RECORD]
    study.sampler = JointSampler(seed=2)
    again = optuna.Trial(study, trial._trial_id)
    assert {name: again._suggest(name, SPACE[name]) for name in SPACE} == params
    assert study.trials[-1].system_attrs[RECORD] == record
    study.tell(again, 0.0)
    optuna.Trial(study, trial._trial_id)


def test_running_trials_of_others_keep_a_proposal_away() -> None:
    study = search(16, lambda number, params: quality(params))
    asked = []
    for _ in range(4):
        study.sampler = JointSampler(seed=7, budget=16)  # the same seed, so that only the others differ
        asked.append(str(study.ask(SPACE).params))
    assert len(set(asked)) == 4


def test_what_was_tried_is_not_proposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw may land on a finished trial: along every axis its place is the best so far, or an end of the range."""
    study, real = search(16, lambda number, params: quality(params)), proposals.draw
    calls = 0

    def draw_what_is_known(posterior: Any, coordinates: Any, bases: Any, temperature: float, rng: Any) -> Any:
        nonlocal calls
        calls += 1
        return bases[0] if calls == 1 else real(posterior, coordinates, bases, temperature, rng)

    monkeypatch.setattr(proposals, "draw", draw_what_is_known)
    study.sampler = JointSampler(seed=7, budget=100)
    assert study.ask(SPACE).params not in [trial.params for trial in study.trials[:-1]]
    assert calls == 2


def test_workers_that_ask_at_the_same_moment_do_not_climb_to_the_same_point() -> None:
    """They see the same trials, of which one runs, and differ in nothing but their seeds."""
    study = search(17, lambda number, params: quality(params))
    study.sampler = JointSampler(seed=1, budget=1000)  # one that explores
    study.ask(SPACE)
    trials = study.trials
    asked, how = [], []
    for seed in range(6):
        again = optuna.create_study(direction="maximize", sampler=JointSampler(seed=seed, budget=18))
        again.add_trials(trials)
        trial = again.ask(SPACE)
        asked.append(str(trial.params))
        how.append(again.trials[-1].system_attrs[RECORD]["how"])
    assert "highest posterior mean" in how
    assert len(set(asked)) == 6


def search_with_curves(seed: int) -> optuna.Study:
    """Every third trial is pruned after half of its epochs."""
    study = optuna.create_study(direction="maximize")
    for number in range(16):
        study.sampler = JointSampler(seed=1000 * seed + number, budget=16)
        trial = study.ask(SPACE)
        level = quality(trial.params)
        scores = [level + 0.02 * math.exp(-epoch / 2) for epoch in range(1, 13)]
        if number % 3 == 2:
            for epoch, score in enumerate(scores[:6], start=1):
                trial.report(score, epoch)
            study.tell(trial, state=TrialState.PRUNED)
            continue
        for epoch, score in enumerate(scores, start=1):
            trial.report(score, epoch)
        study.tell(trial, sum(scores[-3:]) / 3)
    return study


def test_curves_inform_and_pruned_trials_count() -> None:
    assert np.median([best_regret(search_with_curves(seed)) for seed in range(5)]) < 0.15


def test_conditional_parameters_break_nothing() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(16):
        study.sampler = JointSampler(seed=number, budget=16)
        trial = study.ask()
        kind = trial.suggest_categorical("kind", ("tree", "net"))
        x = trial.suggest_float("depth", 0, 1) if kind == "tree" else trial.suggest_float("width", 0, 1)
        study.tell(trial, (kind == "net") - (x - 0.3) ** 2)
    late = [trial for trial in study.trials[8:] if trial.params["kind"] == "net"]
    assert len(late) >= 5


def constrained(seed: int) -> list[float]:
    """What a search whose best values are forbidden proposes in its second half."""
    study = optuna.create_study(direction="maximize")
    for number in range(20):
        study.sampler = JointSampler(seed=1000 * seed + number, budget=20)
        trial = study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
        x, y = trial.params["x"], trial.params["y"]
        trial.set_constraint("memory", x - 0.6)
        study.tell(trial, x - (y - 0.5) ** 2)
    return [trial.params["x"] for trial in study.trials[10:]]


def test_what_violates_a_constraint_is_avoided_and_never_the_base() -> None:
    proposed = [x for seed in range(5) for x in constrained(seed)]
    assert sum(x <= 0.6 for x in proposed) >= len(proposed) / 2


def test_several_objectives_are_refused_by_name() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=JointSampler(seed=0))
    study.add_trial(create_trial(values=[0, 0], params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}))
    with pytest.raises(ValueError, match="one objective"):
        study.ask({"x": FloatDistribution(0, 1)})


def test_curves_are_not_read_where_no_trial_says_what_a_score_is_of_them() -> None:
    assert Schedule.of([]) == Schedule(0, 0)
    without_curve = create_trial(value=0.1, params={}, distributions={})
    assert Schedule.of([without_curve]) == Schedule(0, 0)
    curve = {1: 0.1, 2: 0.2, 3: 0.4}
    assert Schedule.of([create_trial(value=0.3, intermediate_values=curve)]) == Schedule(3, 2)
    assert Schedule.of([create_trial(value=0.9, intermediate_values=curve)]) == Schedule(0, 0)


CONDITIONS = {
    "rate": {"kind": ("net",)},
    "depth": {"kind": ("net",)},
    "heads": {"depth": (2, 3)},
    "leaves": {"kind": ("trees",)},
}


def ask_conditionally(study: optuna.Study) -> optuna.Trial:
    """As a user writes it: each parameter where it exists."""
    trial = study.ask()
    kind = trial.suggest_categorical("kind", ("net", "trees"))
    trial.suggest_float("share", 0.0, 1.0)
    if kind == "trees":
        trial.suggest_int("leaves", 4, 128, log=True)
        return trial
    trial.suggest_float("rate", 0.0, 1.0)
    if trial.suggest_int("depth", 1, 3) > 1:
        trial.suggest_int("heads", 1, 4)
    return trial


def conditional_quality(params: dict[str, Any]) -> float:
    away = (params["share"] - 0.5) ** 2
    if params["kind"] == "net":
        return -0.3 - away - (params["rate"] - 0.2) ** 2
    return -away - (math.log(params["leaves"] / 16) / 3) ** 2


def search_conditionally(num_trials: int, seed: int = 0) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for number in range(num_trials):
        study.sampler = JointSampler(seed=1000 * seed + number, budget=num_trials, conditions=CONDITIONS)
        trial = ask_conditionally(study)
        study.tell(trial, conditional_quality(trial.params))
    return study


def test_the_better_of_two_kinds_is_found_in_a_plain_study() -> None:
    study = search_conditionally(18)
    kinds = [trial.params["kind"] for trial in study.trials]
    assert kinds[0] == "net", "the first of the choices"
    assert kinds[:6].count("trees") >= 2, "each value that others depend on has two trials before they are compared"
    assert kinds[9:].count("trees") > 6
    assert study.best_value > -0.05


def test_a_proposal_has_the_parameters_that_exist_with_each_other() -> None:
    study = search_conditionally(12)
    for seed in range(12):
        study.sampler = JointSampler(seed=seed, budget=100, conditions=CONDITIONS)
        trial = study.ask()
        expected = {"share", "kind", "leaves"}
        if trial.relative_params["kind"] == "net":
            expected = {"share", "kind", "rate", "depth"} | ({"heads"} if trial.relative_params["depth"] > 1 else set())
        assert trial.relative_params.keys() == expected
        study.tell(trial, state=TrialState.FAIL)


def test_a_conditional_trial_that_has_its_parameters_is_not_proposed_for_again() -> None:
    study = search_conditionally(6)
    study.sampler = JointSampler(seed=1, conditions=CONDITIONS)
    trial = ask_conditionally(study)
    record = study.trials[-1].system_attrs[RECORD]
    study.sampler = JointSampler(seed=2, conditions=CONDITIONS)
    again = optuna.Trial(study, trial._trial_id)
    assert again.relative_params == {}
    assert study.trials[-1].system_attrs[RECORD] == record


def test_what_others_depend_on_has_single_values() -> None:
    study = search(3, lambda number, params: quality(params))
    study.sampler = JointSampler(seed=1, conditions={"depth": {"rate": (0.1,)}})
    with pytest.raises(ValueError, match="Others exist under values of 'rate', which must be a choice of at most"):
        study.ask(SPACE)
