"""What should a campaign deploy? Rules for committees beside single trials and contenders, on many holdouts.

    python -m benchmarks.committee PANEL.parquet OTHER.parquet --out FOLDER --splits 4 --seeds 1 --markets 3

Real panels are cut into sliding splits (train two years, validate three quarters, judge half a year, slide by half a
year), planted markets of three difficulties are made small. A campaign of the product is run on each, every trial's
final weights are scored on the holdout, and so are LightGBM with defaults and ridge. What was computed is kept in --out
and not computed again; the table is made from what is there. RankIC is the mean of 1 and 5 days. Each row: its mean,
and its difference to the single champion, the default and LightGBM on the same days; ± is 1.96 standard errors by the
cosine estimator over the days of all splits, panels weighing the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.splits import Job, planted_jobs, real_jobs, search
from hpo.domain.campaign import Outcome
from hpo.report.statistics.intervals import mean_interval
from hpo.usecases.committee import Candidate, select
from hpo.wiring import open_app
from trainer.metrics import daily_rank_ic
from trainer.scoring.committee import mean_ranks

DIFFICULTIES = ("clean", "realistic", "null")
HORIZON = 5
REFERENCES = {"single": "single champion", "default": "default", "lightgbm": "LightGBM"}

Series = NDArray[np.float64]


class Measured:
    """One campaign's trials on its holdout."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as kept:
            self.kept = {name: kept[name] for name in kept.files}
        self.champion = int(self.kept["champion"])
        self._of_rule: dict[str, Series] = {}
        self.position = {int(slot): n for n, slot in enumerate(self.kept["slot"])}
        fields = (self.kept[name] for name in ("slot", "outcome", "score", "epochs", "valid"))
        self.candidates = [
            Candidate(int(slot), Outcome(str(outcome)), float(score), int(epochs), valid)
            for slot, outcome, score, epochs, valid in zip(*fields, strict=True)
        ]

    def members(self, rule: str, size: int = 1000) -> tuple[int, ...]:
        """What the product's rule chooses."""
        longest = max(candidate.num_epochs for candidate in self.candidates)
        chosen = {"rule": rule, "size": size, "horizon": HORIZON, "num_epochs": longest}
        return select(self.candidates, self.champion, **chosen)

    def series(self, slots: tuple[int, ...], *others: str) -> Series:
        """Daily RankIC [D] of the mean ranks of these trials and of contenders by name."""
        ranks = [self.kept["ranks"][self.position[slot]] for slot in slots] + [self.kept[name] for name in others]
        scores = mean_ranks((each.astype(np.float32), 1.0) for each in ranks)
        return np.asarray(daily_rank_ic(scores, self.kept["target"]), dtype=np.float64).mean(axis=1)

    def of_rule(self, rule: str) -> Series:
        """`RULES[rule]`, computed once."""
        if rule not in self._of_rule:
            self._of_rule[rule] = RULES[rule](self)
        return self._of_rule[rule]

    def of_each(self) -> Series:
        """The mean over the trials of their daily RankIC: what a random one of them gives."""
        return np.mean([self.series((slot,)) for slot in self.position], axis=0)


RULES: Mapping[str, Callable[[Measured], Series]] = {
    "single": lambda m: m.series((m.champion,)),
    "default": lambda m: m.series((1,)),
    "random trial": lambda m: m.of_each(),
    "best 3 by score": lambda m: m.series(m.members("complete", 3)),
    "best 5 by score": lambda m: m.series(m.members("complete", 5)),
    "complete": lambda m: m.series(m.members("complete")),
    "**all that learnt something**": lambda m: m.series(m.members("all")),
    "all, whatever they learnt": lambda m: m.series(tuple(m.position)),
    "lightgbm": lambda m: m.series((), "lightgbm"),
    "ridge": lambda m: m.series((), "ridge"),
    "all that learnt, and LightGBM": lambda m: m.series(m.members("all"), "lightgbm"),
}


def differences(jobs: list[Measured], rule: str, reference: str | None) -> Series:
    """A rule's daily RankIC less the reference's (None: itself), the days of all campaigns of one market in a row."""
    parts = []
    for job in jobs:
        series = job.of_rule(rule)
        parts.append(series if reference is None else series - job.of_rule(reference))
    return np.concatenate(parts)


def estimate(markets: Mapping[str, list[Measured]], rule: str, reference: str | None) -> tuple[float, float]:
    """Mean over markets and 1.96 standard errors."""
    found = [mean_interval(differences(jobs, rule, reference), HORIZON) for jobs in markets.values()]
    known = [interval for interval in found if interval is not None]
    error = float(np.sqrt(sum(each.standard_error**2 for each in known))) / len(known)
    return float(np.mean([each.estimate for each in known])), 1.96 * error


def show(title: str, markets: Mapping[str, list[Measured]]) -> None:
    """One table."""
    num = sum(map(len, markets.values()))
    sizes = [len(job.members("all")) for jobs in markets.values() for job in jobs]
    print(f"\n{title}: {num} campaigns, {min(sizes)} to {max(sizes)} members (1e-4 RankIC)\n")
    heads = " | ".join(f"less {name}" for name in REFERENCES.values())
    print(f"| deployed | mean | {heads} |\n| --- | --- | --- | --- | --- |")
    for rule in RULES:
        mean, _ = estimate(markets, rule, None)
        cells = [f"{mean * 1e4:.0f}"]
        for reference in REFERENCES:
            gain, reach = estimate(markets, rule, reference)
            cells.append("" if rule == reference else f"{gain * 1e4:+.0f} ± {reach * 1e4:.0f}")
        print(f"| {rule} | {' | '.join(cells)} |")


def show_each(measured: Mapping[str, Measured]) -> None:
    """Every campaign by itself, failures too."""
    default = "**all that learnt something**"
    names = ("single", "default", default, "lightgbm")
    print("\n| campaign | members of trials | " + " | ".join(names) + " |\n" + "| --- " * (len(names) + 2) + "|")
    for name, job in measured.items():
        means = [f"{np.nanmean(job.of_rule(rule)) * 1e4:.0f}" for rule in names]
        print(f"| {name} | {len(job.members('all'))} of {len(job.candidates)} | {' | '.join(means)} |")


def run(jobs: Iterator[Job], options: argparse.Namespace) -> None:
    """Whatever is not there yet."""
    for job in jobs:
        path = options.out / f"{job.name}.npz"
        if path.exists():
            continue
        started = time.perf_counter()
        with open_app(options.out / "home") as app:
            found = search(app, job, options.trials, options.epochs)
        draft = path.with_suffix(".part")
        with draft.open("wb") as file:
            np.savez(file, **found)
        draft.rename(path)
        print(f"# {job.name}: {time.perf_counter() - started:.0f} s", flush=True)


def all_jobs(options: argparse.Namespace) -> Iterator[Job]:
    """One of each market, then the next of each, so that what was broken off has some of all."""
    real = [real_jobs(panel, options.out, options.splits, options.seeds) for panel in options.panels]
    planted = [planted_jobs(difficulty, options.markets) for difficulty in DIFFICULTIES]
    for together in zip_longest(*real, *planted):
        yield from (job for job in together if job is not None)


def main() -> None:
    """Run what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panels", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    for name, value in (("trials", 20), ("epochs", 10), ("splits", 5), ("seeds", 2), ("markets", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--show", action="store_true", help="the tables of what is there, and no campaign")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not options.show:
        run(all_jobs(options), options)
    measured = {path.stem: Measured(path) for path in sorted(options.out.glob("*.npz"))}
    markets: dict[str, dict[str, list[Measured]]] = {}
    for name, job in measured.items():
        market = name.rsplit("-", 2)[0]
        group = market if market.startswith("planted") else "Real panels"
        markets.setdefault(group, {}).setdefault(market, []).append(job)
    for group, found in markets.items():
        show(group, found)
    show_each(measured)


if __name__ == "__main__":
    main()
