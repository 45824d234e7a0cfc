"""Compares ways of spending a budget of trials on a made-up, noisy, RankIC-like surface; nothing is trained.

    python -m benchmarks.search --trials 20 --campaigns 60

Every method drives the real planning, binding, samplers, pruners and decisions on Optuna's in-memory storage. The
surface has nine dimensions in three tiers of falling weight, an optimum that lies around the defaults but not on
them, correlated pairs (learning rate with batch size, width with dropout), curves of 20 epochs whose speed depends on
the learning rate, noise of .004 per epoch and of .003 per training seed. Reported is the regret, in 1e-3 RankIC: how
much better the optimum truly is than the configuration that was selected. One family of surfaces: a starting point
for a choice of defaults, not a verdict on methods.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.domain.campaign import REFINEMENT, TierPlan, derive_seed
from hpo.domain.config import PrunerConfig, SamplerConfig, TierPolicy
from hpo.engine.parameters import distributions, to_params, to_values
from hpo.engine.pruners import build_pruner
from hpo.engine.samplers import build_sampler
from hpo.engine.tiers import decide, dimensions_of, incumbent_copy, plan_tiers, refinement_seeds
from search_spaces import ChoiceDimension, Dimension, IntegerDimension, Space, Tier, Value, parse_space

EPOCHS, SCORE_EPOCHS = 20, 3
EPOCH_NOISE, SEED_NOISE = 0.004, 0.003
PEAK = 0.06

SPACE = parse_space(
    """
    tiers:
      capacity:
        optim.lr: {type: float, low: 1.0e-5, high: 1.0e-3, log: true, default: 1.0e-4}
        train.batch_size: {type: choice, choices: [1024, 2048, 4096], ordered: true, default: 2048}
        model.hidden_size: {type: choice, choices: [128, 256, 512], ordered: true, default: 256}
      regularisation:
        model.dropout: {type: float, low: 0.1, high: 0.5, default: 0.2}
        model.num_heads: {type: choice, choices: [2, 4, 8, 16], ordered: true, default: 4}
        model.num_layers: {type: integer, low: 1, high: 4, default: 2}
      objective:
        loss.rank_ic: {type: float, low: 0.0, high: 1.0, default: 0.3}
        optim.warmup_fraction: {type: float, low: 0.0, high: 0.3, default: 0.1}
        optim.clip_norm: {type: float, low: 0.1, high: 10.0, log: true, default: 1.0}
    """,
    name="surface",
    source="surface",
)

WEIGHTS = {
    "optim.lr": 2.5,
    "train.batch_size": 0.4,
    "model.hidden_size": 0.8,
    "model.dropout": 0.8,
    "model.num_heads": 0.2,
    "model.num_layers": 0.4,
    "loss.rank_ic": 0.5,
    "optim.warmup_fraction": 0.2,
    "optim.clip_norm": 0.2,
}
"""Curvature of the surface along each dimension, scaled to [0, 1]."""

CORRELATED = {("optim.lr", "train.batch_size"): -0.5, ("model.hidden_size", "model.dropout"): -0.4}


class Surface:
    """The truth of one campaign."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.optimum = {
            d.name: float(np.clip(_position(d, d.default) + rng.normal(0, 0.3), 0, 1)) for d in SPACE.dimensions
        }
        for dimension in SPACE.dimensions:  # the optimum can be reached: it lies on one of the choices
            if (count := _count(dimension)) is not None:
                self.optimum[dimension.name] = round(self.optimum[dimension.name] * (count - 1)) / (count - 1)

    def level(self, values: Mapping[str, Value]) -> float:
        """The RankIC a configuration truly reaches."""
        away = {d.name: _position(d, values[d.name]) - self.optimum[d.name] for d in SPACE.dimensions}
        loss = sum(WEIGHTS[name] * away[name] ** 2 for name in away)
        for (one, other), rho in CORRELATED.items():
            loss += 2 * rho * math.sqrt(WEIGHTS[one] * WEIGHTS[other]) * away[one] * away[other]
        return PEAK * math.exp(-loss)

    def curve(self, values: Mapping[str, Value], seed: int) -> list[float]:
        """One training: a score per epoch."""
        rng = np.random.default_rng(seed)
        level = self.level(values) + rng.normal(0, SEED_NOISE)
        patience = 2.0 + 4.0 * (1 - _position(SPACE.dimensions[0], values["optim.lr"]))
        return [level * (1 - math.exp(-e / patience)) + rng.normal(0, EPOCH_NOISE) for e in range(1, EPOCHS + 1)]

    def regret(self, values: Mapping[str, Value]) -> float:
        return PEAK - self.level(values)


def _count(dimension: Dimension) -> int | None:
    if isinstance(dimension, ChoiceDimension):
        return len(dimension.choices)
    return len(dimension.values) if isinstance(dimension, IntegerDimension) else None


def _position(dimension: Dimension, value: Value) -> float:
    """Where a value lies in its range, 0 to 1, on the scale it is searched."""
    if isinstance(dimension, ChoiceDimension):
        return dimension.index(value) / (len(dimension.choices) - 1)
    low, high, here = float(dimension.low), float(dimension.high), float(value)
    if dimension.log:
        low, high, here = math.log(low), math.log(high), math.log(here)
    return (here - low) / (high - low)


@dataclass(frozen=True)
class Method:
    """A way of searching. policy None: one tier of all dimensions. unordered: choices as categories. confirmed: trials
    of the budget that train as many leaders once more with a fresh seed; the best mean of two is selected."""

    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    policy: TierPolicy | None = field(default_factory=TierPolicy)
    default_first: bool = True
    unordered: bool = False
    confirmed: int = 0


NO_PRUNING = PrunerConfig(name="nop")
STOCK_TPE = SamplerConfig(options={"n_startup_trials": 10})

METHODS: Mapping[str, Method] = {
    "random": Method(SamplerConfig(name="random"), NO_PRUNING, None, default_first=False, unordered=True),
    "TPE, Optuna's defaults": Method(STOCK_TPE, NO_PRUNING, None, default_first=False, unordered=True),
    "the same, default configuration first": Method(STOCK_TPE, NO_PRUNING, None, unordered=True),
    "the same, 3 start-up trials, ordered": Method(SamplerConfig(), NO_PRUNING, None),
    "the same, Wilcoxon": Method(SamplerConfig(), PrunerConfig(), None),
    "tiers, no refinement, no pruning": Method(pruner=NO_PRUNING, policy=TierPolicy(refinement_fraction=0.0)),
    "tiers, no refinement": Method(policy=TierPolicy(refinement_fraction=0.0)),
    "tiers, no pruning": Method(pruner=NO_PRUNING),
    "tiers (our defaults)": Method(),
    "tiers, two leaders confirmed": Method(confirmed=2),
    "tiers, three leaders confirmed": Method(confirmed=3),
    "tiers, five leaders confirmed": Method(confirmed=5),
}


@dataclass(frozen=True)
class Campaign:
    """What a simulated campaign ended with. regret: in RankIC; epochs: trained in all; pruned: trials."""

    regret: float
    epochs: int
    pruned: int


class Simulation:
    """One campaign of one method on one surface, as a worker would run it."""

    def __init__(self, method: Method, num_trials: int, seed: int, equal_epochs: bool) -> None:
        self.method, self.seed = method, seed
        self.surface = Surface(seed)
        self.space = _one_tier(SPACE, method.unordered) if method.policy is None else SPACE
        policy = method.policy or TierPolicy(refinement_fraction=0.0)
        self.plan = plan_tiers(num_trials - method.confirmed, [tier.name for tier in self.space.tiers], policy)
        self.policy = policy
        self.budget = num_trials * EPOCHS if equal_epochs else None
        self.slot = self.epochs = 0
        self.studies: list[optuna.Study] = []
        self.held: dict[str, Value] = self.space.defaults()

    def run(self) -> Campaign:
        for tier in self.plan:
            self._run_tier(tier)
        if self.method.confirmed:
            self._confirm()
        pruned = sum(t.state is TrialState.PRUNED and "copied_from" not in t.user_attrs for t in self._trials())
        return Campaign(self.surface.regret(self.held), self.epochs, pruned)

    def _run_tier(self, tier: TierPlan) -> None:
        dimensions = dimensions_of(self.space, tier.name)
        is_refinement = tier.name == REFINEMENT
        ranges = distributions(dimensions, self.held if is_refinement else None, self.policy.refinement_width)
        study = optuna.create_study(direction="maximize", study_name=tier.study_name("sim"))
        study.pruner = build_pruner(self.method.pruner, EPOCHS)
        for seed in self._seeds(tier, dimensions, ranges):
            study.add_trial(seed)
        self.studies.append(study)
        last = tier is self.plan[-1]
        position = 0
        while position < tier.num_slots if self.budget is None or not last else self.epochs < self.budget:
            position += 1
            self._run_trial(tier, position, study, dimensions, ranges)
        self.held = decide(tier, study.study_name, study.get_trials(deepcopy=False), self.held, SCORE_EPOCHS)["values"]

    def _seeds(
        self, tier: TierPlan, dimensions: tuple[Dimension, ...], ranges: Mapping[str, BaseDistribution]
    ) -> list[FrozenTrial]:
        if not self.studies:
            return []
        if tier.name == REFINEMENT:
            return list(
                refinement_seeds([(s.study_name, t) for s in self.studies for t in s.trials], self.space, ranges)
            )
        before = self.studies[-1]
        best = decide(tier, "", before.trials, {}, SCORE_EPOCHS)["trial_number"]
        return [incumbent_copy(before.trials[best], before.study_name, dimensions, ranges)]

    def _run_trial(
        self,
        tier: TierPlan,
        position: int,
        study: optuna.Study,
        dimensions: tuple[Dimension, ...],
        ranges: Mapping[str, BaseDistribution],
    ) -> None:
        self.slot += 1
        study.sampler = build_sampler(
            self.method.sampler,
            seed=derive_seed(self.seed, tier.number, position, "sampler"),
            study_seed=derive_seed(self.seed, tier.number, "sampler"),
            distributions=ranges,
        )
        attrs = {}
        if self.slot == 1 and self.method.default_first:
            attrs = {"fixed_params": to_params(dimensions, self.space.defaults())}
        study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"slot": self.slot}, system_attrs=attrs))
        trial = optuna.Trial(study, study.get_trials(deepcopy=False)[-1]._trial_id)
        params = {name: trial._suggest(name, distribution) for name, distribution in ranges.items()}
        values = {**self.held, **to_values(dimensions, params)}
        trial.set_user_attr("values", values)
        scores: list[float] = []
        for epoch, score in enumerate(self.surface.curve(values, derive_seed(self.seed, self.slot, "curve")), start=1):
            scores.append(score)
            trial.report(score, epoch)
            self.epochs += 1
            if epoch < EPOCHS and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                return
        study.tell(trial, statistics.fmean(scores[-SCORE_EPOCHS:]))

    def _confirm(self) -> None:
        complete = [t for t in self._trials() if t.state is TrialState.COMPLETE and "copied_from" not in t.user_attrs]
        leaders = sorted(complete, key=lambda trial: -trial.value)[: self.method.confirmed]
        means = []
        for trial in leaders:
            values, seed = trial.user_attrs["values"], derive_seed(self.seed, trial.user_attrs["slot"], "confirmation")
            again = self.surface.curve(values, seed)
            self.epochs += EPOCHS
            means.append((trial.value + statistics.fmean(again[-SCORE_EPOCHS:]), values))
        self.held = max(means, key=lambda mean: mean[0])[1]

    def _trials(self) -> list[FrozenTrial]:
        return [trial for study in self.studies for trial in study.trials]


def simulate(method: Method, num_trials: int, campaigns: int, equal_epochs: bool) -> list[Campaign]:
    """The same surfaces for every method."""
    return [Simulation(method, num_trials, seed, equal_epochs).run() for seed in range(campaigns)]


def _one_tier(space: Space, unordered: bool) -> Space:

    dimensions = tuple(
        replace(d, ordered=False) if unordered and isinstance(d, ChoiceDimension) else d for d in space.dimensions
    )
    return Space(space.name, space.settings, (Tier("all", dimensions),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="budget of a campaign (default: 20)")
    parser.add_argument("--campaigns", type=int, default=40, help="campaigns per method (default: 40)")
    parser.add_argument("--only", default="", help="methods whose name contains this text")
    parser.add_argument(
        "--equal-epochs", action="store_true", help="spend what pruning saved on more trials of the last tier"
    )
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    budget = f"{options.trials * EPOCHS} epochs" if options.equal_epochs else f"{options.trials} trials"
    print(f"{budget}, {options.campaigns} campaigns: regret in 1e-3 RankIC, mean and standard error\n")
    print(f"{'method':<40}{'regret':>8}{'+-':>6}{'epochs':>8}{'pruned':>8}{'seconds':>9}")
    for name, method in METHODS.items():
        if options.only not in name:
            continue
        started = time.perf_counter()
        runs = simulate(method, options.trials, options.campaigns, options.equal_epochs)
        seconds = (time.perf_counter() - started) / options.campaigns
        regrets = [1e3 * run.regret for run in runs]
        error = statistics.stdev(regrets) / math.sqrt(len(regrets))
        epochs, pruned = (statistics.fmean(getattr(run, key) for run in runs) for key in ("epochs", "pruned"))
        print(f"{name:<40}{statistics.fmean(regrets):>8.2f}{error:>6.2f}{epochs:>8.0f}{pruned:>8.1f}{seconds:>9.2f}")


if __name__ == "__main__":
    main()
