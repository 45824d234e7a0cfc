"""Settings of the training: loss, optimizer and loop."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from trainer import imports
from trainer.config.section import NonNegative, Section, Unit
from trainer.errors import InputError
from trainer.metric_names import MetricName, own_kind


class LossWeights(Section):
    """How much each loss term counts. Every term is 1 for a model that knows nothing, so that weights compare."""

    mse: NonNegative = 1.0
    """Squared error on the labels, which have variance 1 over a day."""
    huber: NonNegative = 0.0
    """The same with absolute error beyond one standard deviation."""
    ic: NonNegative = 0.0
    """1 - Pearson correlation with the returns per day."""
    rank_ic: NonNegative = 0.3
    """1 - differentiable Spearman correlation per day."""
    sharpe: NonNegative = 0.0
    """1 - Sharpe ratio, over the days of the batch, of the long-short portfolio held in proportion to the scores,
    divided by the square root of the number of stocks."""
    own: NonNegative = 1.0
    """The term of your own that `own_term` names; without one it weighs nothing."""


class LossPhase(Section):
    """A part of the training. Its factors multiply the weights of LossConfig."""

    fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    """Share of the epochs it lasts; the phases' shares add up to 1."""
    mse: NonNegative = 1.0
    huber: NonNegative = 1.0
    ic: NonNegative = 1.0
    rank_ic: NonNegative = 1.0
    sharpe: NonNegative = 1.0
    own: NonNegative = 1.0


OWN_TERM = "own"
"""The name of the user's own term among the weights."""
LOSS_TERMS: tuple[str, ...] = tuple(name for name in LossWeights.model_fields if name != OWN_TERM)
"""The terms that come along."""

PHASE_PRESETS: dict[str, tuple[LossPhase, ...]] = {
    "constant": (),
    "baseline_to_ranking": (
        LossPhase(fraction=0.25, mse=2.5, huber=2.5, ic=0.0, rank_ic=0.0, sharpe=0.0),
        LossPhase(fraction=0.25, mse=2.0, huber=2.0, ic=0.25, rank_ic=0.33, sharpe=0.5),
        LossPhase(fraction=0.25, mse=1.5, huber=1.5, ic=0.5, rank_ic=0.67, sharpe=1.0),
        LossPhase(fraction=0.25),
    ),
}
"""Phases by name. `baseline_to_ranking` starts on the regression terms and hands over to the ranking terms."""


TERM_PARAMETERS = (("scores", "labels", "valid"), ("scores", "returns", "valid"))
"""What a loss term of the user's own may be a function of."""
METRIC_PARAMETERS = ("scores", "returns", "valid")
"""What a validation metric of the user's own is a function of."""


def _parameters(path: str, form: str) -> list[str]:
    """The parameters of the user's function at an import path. ValueError says what is wrong with it."""
    if not imports.is_path(path):
        raise ValueError(f"write the import path of a function as {form}")
    try:
        return imports.parameters_of(path)
    except InputError as error:
        raise ValueError(str(error).removesuffix(".")) from None


class LossConfig(LossWeights):
    """Weights of the loss terms, over horizons and over the training."""

    own_term: str | None = None
    """Import path of a loss term of your own, `my_module:my_term`: a function of `scores`, `labels` (or `returns`) and
    `valid`."""
    horizon_weights: tuple[NonNegative, ...] | None = None
    """One weight per horizon; None: in proportion to 1 / sqrt(horizon), because labels over many days overlap: they are
    fewer independent observations, and equal weights let the model learn their noise."""
    phases: tuple[LossPhase, ...] = ()
    """Factors on the weights over the training, in order: a list of phases or a name in PHASE_PRESETS;
    empty: constant weights."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that may be weighed."""
        return LOSS_TERMS if self.own_term is None else (*LOSS_TERMS, OWN_TERM)

    @field_validator("own_term")
    @classmethod
    def _is_a_term(cls, path: str | None) -> str | None:
        if path is not None and tuple(_parameters(path, "my_module:my_term")) not in TERM_PARAMETERS:
            raise ValueError(f"its parameters must be {' or '.join(', '.join(names) for names in TERM_PARAMETERS)}")
        return path

    @field_validator("phases", mode="before")
    @classmethod
    def _preset_by_name(cls, phases: object) -> object:
        if not isinstance(phases, str):
            return phases
        if phases not in PHASE_PRESETS:
            raise ValueError(f"'{phases}' is not a preset; choose from {', '.join(PHASE_PRESETS)} or list the phases")
        return PHASE_PRESETS[phases]

    @model_validator(mode="after")
    def _something_to_minimise(self) -> Self:
        if self.own_term is None and self.own != 1:
            raise ValueError(f"loss.own={self.own:g} weighs the term that loss.own_term names; name one")
        total = sum(phase.fraction for phase in self.phases)
        if self.phases and abs(total - 1.0) > 1e-6:
            raise ValueError(f"loss.phases: the fractions add up to {total:g}; make them add up to 1")
        for phase in self.phases or (LossPhase(fraction=1.0),):
            if not any(getattr(self, term) * getattr(phase, term) > 0 for term in self.terms):
                raise ValueError(f"loss: in every phase at least one of {', '.join(self.terms)} must be above 0")
        if self.horizon_weights is not None and not sum(self.horizon_weights) > 0:
            raise ValueError("loss.horizon_weights: at least one weight must be above 0")
        return self


class OptimConfig(Section):
    """Optimizer and learning-rate schedule."""

    name: Literal["adamw", "sgd", "lamb", "lion", "lars", "sam", "lookahead", "ranger"] = "adamw"
    """`sam` perturbs and steps with AdamW (two passes a step); `lookahead` wraps AdamW."""
    lr: Annotated[float, Field(gt=0.0)] = 2e-3
    """Peak learning rate."""
    weight_decay: NonNegative = 1e-2
    """Not applied to norms and biases."""
    warmup_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of all optimizer steps over which the rate rises to its peak."""
    schedule: Literal["cosine", "one_cycle", "polynomial", "exponential", "plateau", "constant"] = "cosine"
    """What follows the warm-up; `plateau` multiplies the rate by `plateau_factor` when the monitored metric has not
    improved for `plateau_patience` epochs."""
    final_lr_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """Share of the peak rate at which cosine, polynomial and exponential end."""
    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What schedule=plateau multiplies the learning rate by."""
    plateau_patience: Annotated[int, Field(ge=0, le=10_000)] = 2
    """Epochs without a better validation score that schedule=plateau lets pass first."""
    clip_norm: NonNegative = 1.0
    """Limit of the norm of the whole gradient; 0: off."""
    clip_value: NonNegative = 0.0
    """Limit of every gradient element; 0: off."""
    clip_adaptive: NonNegative = 0.0
    """Limit of a unit's gradient norm as a share of its weight norm (AGC, Brock et al. 2021); 0: off."""


class TrainConfig(Section):
    """The loop."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Passes over the training days."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000_000)] = 2048
    """Labelled stock-days per optimizer step (a span of days for a set of stocks)."""
    stocks_per_batch: Annotated[int, Field(ge=0, le=1_000_000)] = 32
    """Stocks of a span; its days follow from batch_size. Fewer stocks make longer spans, of which the look-back is a
    smaller part, but noisier daily ranks. 0: all stocks."""
    accumulate: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Parts a batch is passed through the model in, one after another; the gradient is their mean."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay per step of an exponential average of the weights, which is then what is scored; 0: off."""
    swa_fraction: Unit = 0.0
    """Share of the epochs, at the end, whose weights are averaged (SWA, Izmailov et al. 2018); 0: off."""
    epoch_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the stocks that an epoch trains on, drawn anew each time: a large panel is then judged (and a poor
    trial stopped) more often than once a pass."""
    patience: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Epochs without a new best trailing score before early stopping; 0: never."""
    monitor: str = "rank_ic"
    """The validation metric that is maximised: `rank_ic` (mean over horizons), `rank_ic_5d`, `neutral_rank_ic`,
    `lag1_rank_ic_5d`, `icir_5d`, `ic` (Pearson), `long_short_sharpe_5d` (best fifth less worst fifth, annualised,
    before costs), ..."""
    own_metric: str | None = None
    """Import path of a validation metric of your own, `my_module:my_metric`: a function of `scores`, `returns` and
    `valid`. It is called by the function's name: `my_metric`, the mean over horizons, and `my_metric_5d`."""
    score_epochs: Annotated[int, Field(ge=1, le=10_000)] = 3
    """Last epochs averaged into the score; less noisy than one epoch alone, and no choice of the luckiest."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Arithmetic of the forward and backward pass; weights and the optimizer's state are float32 in both."""
    device: str = "auto"
    """`auto`: cuda where there is one, else cpu; or a torch device name."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Devices of one machine that a training is spread over, a process each: every batch is divided by its days, and
    stays as large as it is. On a CPU they are processes that divide its threads."""
    cuda_graphs: bool = True
    """Launch a step's kernels together on a CUDA device, where the model allows it; has no effect on a CPU, nor over
    several devices."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads for torch and for LightGBM; 0: leave torch's own choice."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of weights, batches and dropout. In a search it is the trial's own, drawn from the campaign's."""

    @field_validator("own_metric")
    @classmethod
    def _is_a_metric(cls, path: str | None) -> str | None:
        if path is None:
            return None
        if tuple(_parameters(path, "my_module:my_metric")) != METRIC_PARAMETERS:
            raise ValueError(f"its parameters must be {', '.join(METRIC_PARAMETERS)}")
        name = str(own_kind(path))
        if MetricName.parse(name) is not None or MetricName.parse(f"{name}_1d") != MetricName(name, horizon=1):
            raise ValueError(f"a metric of ours is called {name}, or ends like it; give the function another name")
        return path

    @model_validator(mode="after")
    def _fraction_needs_groups(self) -> Self:
        if self.epoch_fraction < 1 and not self.stocks_per_batch:
            raise ValueError("train.epoch_fraction below 1 draws groups of stocks; set train.stocks_per_batch above 0")
        return self

    @model_validator(mode="after")
    def _devices_have_no_number(self) -> Self:
        if self.devices > 1 and ":" in self.device:
            raise ValueError(
                f"train.device={self.device} is a single one; for train.devices={self.devices} name a kind (auto, cuda)"
            )
        return self

    @model_validator(mode="after")
    def _one_average(self) -> Self:
        if self.ema_decay and self.swa_fraction:
            raise ValueError("train: choose one of ema_decay and swa_fraction; set the other to 0")
        return self
