"""A campaign's configuration: frozen, typed, unknown keys refused."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, field_validator, model_validator

from hpo.domain.campaign import DEFAULT_STUDY, DEFAULT_TRAINABLE
from hpo.domain.settings import seconds_of


class Section(BaseModel):
    """Base of all sections: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _as_duration(value: object) -> object:
    """`8h` in seconds; anything else as pydantic takes it, ISO 8601 among it."""
    seconds = seconds_of(value) if isinstance(value, str) else None
    return value if seconds is None else seconds


Duration = Annotated[timedelta, BeforeValidator(_as_duration)]
"""`90s`, `30m`, `8h`, or a number of seconds."""

Limit = Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=3650))]
"""A time limit."""


class SamplerConfig(Section):
    """Which Optuna sampler proposes configurations."""

    name: str = "joint"
    """A row of `hpo.engine.strategies.samplers.SAMPLERS`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the Optuna class, as its documentation names them."""


class PrunerConfig(Section):
    """Which Optuna pruner ends trials early."""

    name: str = "wilcoxon"
    """A row of `hpo.engine.strategies.pruners.PRUNERS`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the Optuna class, as its documentation names them."""


class TierPolicy(Section):
    """What a tier varies and knows, and how the budget is spread over the tiers."""

    mode: Literal["strict", "cumulative", "joint"] = "joint"
    """strict: a tier varies its own dimensions, with those of other tiers held, and the refinement all around the
    incumbent. cumulative: a tier opens its dimensions; earlier ones stay open, later ones are held at their defaults.
    joint: every tier varies all dimensions. In the latter two, a tier knows all earlier trials and searches full
    ranges."""
    shares: tuple[Annotated[float, Field(gt=0.0)], ...] = (0.5, 0.3, 0.2)
    """Relative shares of the tiers, in order, of what the refinement leaves."""
    refinement_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    """Share of the budget that tunes all dimensions jointly (in the mode strict, around the incumbent)."""
    refinement_width: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Width of a strict refinement's ranges around the incumbent, as a share of each dimension's full range."""


class CommitteeConfig(Section):
    """What the campaign ends with: which trials' daily ranks are averaged."""

    rule: Literal["all", "complete", "single"] = "all"
    """`all`: every trial that learnt something, pruned ones at their last epoch too; `complete`: those that were not
    pruned; `single`: the single champion alone. A trial that is clearly worse than the single champion on the
    validation days stays out, and further ones where the days tell the trials apart so well that fewer score better."""
    size: Annotated[int, Field(ge=1, le=1000)] = 20
    """The most members; where more trials qualify, those with the best validation score stay."""


class WorkerConfig(Section):
    """How the work is done. Nothing here changes a result with one worker; it may differ from run to run."""

    num_workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Worker processes that `hpo run` and `hpo resume` start."""
    engine: Literal["local", "slurm", "ray"] = "local"
    """Where they run: on this machine, as tasks of a Slurm job array, or as actors of a Ray cluster."""
    sbatch: str = ""
    """Further options of Slurm's sbatch: `--partition=gpu --gres=gpu:1 --time=8:00:00`."""
    ray: dict[str, Any] = Field(default_factory=dict)
    """Further options of a Ray actor, as its documentation names them: `worker.ray.num_cpus=4`,
    `worker.ray.accelerator_type=H100`. By default it takes one CPU, and 1/`per_gpu` of a GPU where there are
    any, or all GPUs that a training of several devices needs."""
    lease: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = timedelta(seconds=60)
    """How long a silent worker keeps its slot: `60s`, `5m`."""
    timeout: Limit | None = None
    """Stop taking new trials after this long (`8h`); None: never."""
    trial_timeout: Limit | None = None
    """End a trial (FAILED, reason `timeout`) that trains longer than this in one go (`30m`); None: never."""
    trial_memory: Annotated[ByteSize, Field(ge=1 << 20, le=1 << 50)] | None = None
    """Memory a trial on a CPU may take (`4GiB`): one that needs more is not started. None: what is available when its
    worker starts, divided by `num_workers`. On CUDA counts what is free on the device."""
    per_gpu: Annotated[int, Field(ge=1, le=64)] = 1
    """Workers that share a GPU; the trials of each may take that part of its memory. The workers of a machine are dealt
    out to its GPUs in turn, whoever started them."""
    keep_checkpoints: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    """When the campaign is complete, the checkpoints of this many best trials stay, beside those of the committee's
    members and of the default configuration."""
    upload_lag: Annotated[int, Field(ge=1, le=1000)] = 2
    """Finished epochs that a trial may be ahead of what of it lies in `HPO_ARTIFACTS`, where that is set: so many are
    trained again when its machine is lost. It waits for a slow store rather than to be further; not for one that is
    away."""
    same_arithmetic: bool = False
    """Whether a worker is refused whose processor or GPU, precision or torch differs from that of the campaign's first
    worker, so that the same seed would give other bits. Where such a worker is let in, its trials are marked."""
    max_crashes: Annotated[int, Field(ge=1, le=1000)] = 3
    """A slot is FAILED with the reason `poison` once its trial's process died this many times in a row while its worker
    lived, without an epoch finished in between."""
    max_losses: Annotated[int, Field(ge=1, le=100_000)] = 100
    """The same for a slot whose worker was lost (killed, or its machine) this many times in a row. Healthy trials meet
    with that too, so the limit is high; lower it for a trial that takes its worker down every time."""

    @model_validator(mode="after")
    def _options_have_a_reader(self) -> WorkerConfig:
        for option, engine, given in (("sbatch", "slurm", self.sbatch), ("ray", "ray", self.ray)):
            if given and self.engine != engine:
                raise ValueError(f"{option} has no effect with engine={self.engine}; add worker.engine={engine}")
        try:
            shlex.split(self.sbatch)
        except ValueError as error:
            raise ValueError(f"sbatch is no line of options: {str(error).lower()}") from None
        return self


class SearchConfig(Section):
    """One campaign."""

    study: str = DEFAULT_STUDY
    """The campaign's name; also the prefix of its Optuna studies."""
    trials: Annotated[int, Field(ge=1, le=20_000)] = 20
    """Total budget. Up to its limit every look at the campaign takes a second or two."""
    epochs: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Total budget in epochs instead of trials: what pruning saves is spent on further trials."""
    space: str = "quickstart"
    """A space of the catalog, or the path of a YAML file."""
    trainable: str = DEFAULT_TRAINABLE
    """What is trained: `ranker`, or the import path of your own, `my_package.my_module:MyTrainable`."""
    objective: str = "rank_ic"
    """The validation metric that is maximised, one of the trainable's (of the ranker it sets
    `trainer.train.monitor`)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the search; every trial's own follows from it and the trial's number."""
    warm_start: str | None = None
    """An earlier campaign whose trials are what the sampler expects at first, on the dimensions that both have; never
    results of this one, and outvoted where they mislead."""
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()
    tiers: TierPolicy = TierPolicy()
    committee: CommitteeConfig = CommitteeConfig()
    finalize: bool = False
    """Whether what the campaign chose is trained again with all data at its end, as `hpo finalize` does."""
    worker: WorkerConfig = WorkerConfig()
    trainer: dict[str, Any] = Field(default_factory=dict)
    """The trainable's settings that are not searched, over its defaults; a space's own settings win over the
    defaults, the user's over both."""

    @model_validator(mode="after")
    def _an_earlier_campaign_has_a_reader(self) -> SearchConfig:
        if self.warm_start is not None and self.sampler.name != "joint":
            raise ValueError(f"warm_start has no effect with sampler.name={self.sampler.name}; only joint reads it")
        if self.warm_start == self.study:
            raise ValueError("warm_start names the campaign itself; give an earlier one")
        return self

    @field_validator("study")
    @classmethod
    def _name_is_a_plain_word(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise ValueError(
                f"study name '{name}' may hold letters, digits, '.', '_' and '-', at most 64; choose another name"
            )
        return name
