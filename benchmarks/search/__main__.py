"""Compares ways of spending a budget of trials on made-up trainings; nothing is trained.

    python -m benchmarks.search --trials 20 --campaigns 30 --families additive,peaks --variants plain,days

A method is one of Optuna's samplers in a plain study (random, tpe, `tpe, default first`, cmaes), or the engine as
SAMPLER/MODE/PRUNER, such as joint/joint/nop; `default` is the engine with its defaults. Reported are the regret of what
was chosen in 1e-3 RankIC with its standard error, the ratio to tpe where tpe is among the methods, how often the
default was kept, and what was claimed. Surfaces with development seeds may be tuned to; those with published seeds are
for tables alone.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Sequence

import optuna

from benchmarks.search.campaigns import Result, configuration, run
from benchmarks.search.references import REFERENCES, run_reference
from benchmarks.search.surfaces import EPOCHS, FAMILIES, VARIANTS, Surface
from hpo.domain.config import PrunerConfig, SearchConfig

FIRST_SEED = {"development": 0, "published": 1_000_000}


def run_method(method: str, num_trials: int, seed: int, surface: Surface) -> Result:
    """One campaign of a method, by its name."""
    if method in REFERENCES:
        return run_reference(REFERENCES[method], num_trials, seed, surface)
    defaults = SearchConfig()
    if method == "default":
        config = configuration(num_trials, seed, defaults.sampler.name, defaults.tiers.mode, defaults.pruner)
    else:
        sampler, mode, pruner = method.split("/")
        config = configuration(num_trials, seed, sampler, mode, _pruner(pruner))
    return run(config, surface)


def _pruner(text: str) -> PrunerConfig:
    """`name` or `name,option=number,...`."""
    name, *options = text.split(",")
    return PrunerConfig(name=name, options={key: float(value) for key, value in (o.split("=") for o in options)})


def row(method: str, results: Sequence[Result], reference: float | None, seconds: float) -> str:
    """One line of the table."""
    regrets = [1e3 * result.regret for result in results]
    mean, error = statistics.fmean(regrets), statistics.stdev(regrets) / math.sqrt(len(regrets))
    ratio = f"{mean / reference:>7.2f}" if reference else f"{'':>7}"
    kept = statistics.fmean(result.is_default for result in results)
    gain, truth = (1e3 * statistics.fmean(getattr(r, name) for r in results) for name in ("gain", "true_gain"))
    misses = [abs(r.gain - r.true_gain) > 1.96 * r.error for r in results if r.error > 0]
    covered = f"{1 - statistics.fmean(misses):>9.2f}" if misses else f"{'':>9}"
    epochs = statistics.fmean(result.epochs for result in results)
    return (
        f"  {method:<24}{mean:>8.2f}{error:>6.2f}{ratio}{epochs:>8.0f}{kept:>7.2f}{gain:>9.2f}{truth:>8.2f}{covered}"
        f"{seconds:>9.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="budget of a campaign (default: 20)")
    parser.add_argument("--campaigns", type=int, default=30, help="campaigns per cell (default: 30)")
    parser.add_argument("--families", default=",".join(FAMILIES), help="comma-separated (default: all)")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="separated by semicolons (default: all)")
    parser.add_argument("--methods", default="tpe;default", help="separated by semicolons (default: tpe;default)")
    parser.add_argument("--seeds", choices=FIRST_SEED, default="development", help="which surfaces (development)")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    first = FIRST_SEED[options.seeds]
    seeds = range(first, first + options.campaigns)
    print(f"{options.trials} trials of {EPOCHS} epochs; {options.seeds} seeds {seeds.start} to {seeds.stop - 1}")
    print(
        f"  {'method':<24}{'regret':>8}{'+-':>6}{'/ tpe':>7}{'epochs':>8}{'kept':>7}{'claimed':>9}{'true':>8}"
        f"{'coverage':>9}{'seconds':>9}"
    )
    for family in options.families.split(","):
        for variant in options.variants.split(";"):
            print(f"{family}, {variant}", flush=True)
            reference = None
            for method in options.methods.split(";"):
                started = time.perf_counter()
                results = [
                    run_method(method, options.trials, seed, Surface(family, VARIANTS[variant], seed)) for seed in seeds
                ]
                if method == "tpe":
                    reference = 1e3 * statistics.fmean(result.regret for result in results)
                seconds = (time.perf_counter() - started) / len(results)
                print(row(method, results, reference, seconds), flush=True)


if __name__ == "__main__":
    main()
