"""The trainer's configuration: frozen, typed, unknown keys refused. The single source of every default."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class Section(BaseModel):
    """Base of all sections: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SplitConfig(Section):
    """Where train ends and holdout begins, as positions on the panel's calendar.

    A gap of look-back + longest horizon + embargo trading days is cut off the end of train and of validation.
    Dates, where given, win over fractions.
    """

    train_start: date | None = None
    """First training day; None: the first day of the panel (earlier days serve as warm-up for features)."""
    train_end: date | None = None
    """Last day before the validation window (the gap is cut from before it)."""
    valid_end: date | None = None
    """Last day before the holdout window."""
    train_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    """Share of days up to the validation window, where no date is given."""
    valid_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of days in the validation window(s), where no date is given."""
    embargo_days: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Extra trading days in every gap."""
    num_folds: Annotated[int, Field(ge=1, le=20)] = 1
    """Walk-forward folds; the validation window is divided into this many, each trained on what precedes it."""
    scheme: Literal["expanding", "rolling"] = "expanding"
    """Whether later folds keep the early training days."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_end is None and self.train_end is None and self.train_fraction + self.valid_fraction >= 1:
            raise ValueError(
                f"data.split: train_fraction={self.train_fraction:g} and valid_fraction={self.valid_fraction:g} leave "
                "nothing for the holdout; make them add up to less than 1"
            )
        days = [day for day in (self.train_start, self.train_end, self.valid_end) if day is not None]
        if any(later <= earlier for earlier, later in pairwise(days)):
            raise ValueError(
                "data.split: train_start, train_end and valid_end must follow one another; put them in order"
            )
        return self


class ColumnsConfig(Section):
    """Which column of a file is taken for what, where its name alone does not say it; None: found by its name."""

    date: str | None = None
    symbol: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    volume: str | None = None
    adj_open: str | None = None
    """Adjusted for splits and dividends, like the next four; with `adj_close` alone the other bars are scaled by its
    ratio to `close`."""
    adj_high: str | None = None
    adj_low: str | None = None
    adj_close: str | None = None
    adj_volume: str | None = None
    turnover: str | None = None
    """Traded value of the day."""
    sector: str | None = None
    universe: str | None = None
    """Whether the stock belongs to the universe on the day (true or false, 1 or 0, or the name of an index, empty
    outside it): outside it is neither ranked nor learnt from, but its history counts."""
    delisting_return: str | None = None
    """Return from the last close to what was paid after a delisting, on the stock's last row."""


class DataConfig(Section):
    """Which panel, which labels."""

    source: str = "planted:realistic"
    """`planted:clean|realistic|null`, with `?seed=3&stocks=200&days=900&sectors=8` as far as wanted; or the path of a
    Parquet/CSV file or folder."""
    horizons: tuple[Annotated[int, Field(ge=1, le=250)], ...] = (1, 5, 10, 20)
    """Label horizons in trading days, ascending."""
    target: Literal["raw", "neutral"] = "raw"
    """What the loss is computed on: forward return, or its residual on style ranks and sector."""
    target_transform: Literal["rank", "gauss", "zscore"] = "rank"
    """What a day's targets become before they are learnt, over all labelled stocks of the day: ranks, normal scores of
    the ranks, or z-scores cut off at 3; each of mean 0 and variance 1."""
    target_lag: Literal[0, 1] = 0
    """0: the position is entered at the close of the day; 1: one close later."""
    min_price: NonNegative = 0.0
    """Stock-days whose close is below this are masked; 0: none. The close before adjustments counts, where the file
    has it: adjusted for later splits, a close chooses stocks by what happens later."""
    columns: ColumnsConfig = ColumnsConfig()
    trust: tuple[str, ...] = ()
    """Features that are let in although they look like the answer: those that correlate with the labels beyond what is
    credible are refused otherwise."""
    split: SplitConfig = SplitConfig()

    @field_validator("horizons")
    @classmethod
    def _ascending(cls, horizons: tuple[int, ...]) -> tuple[int, ...]:
        if not horizons or any(later <= earlier for earlier, later in pairwise(horizons)):
            raise ValueError("data.horizons must be one or more numbers of days in ascending order, none twice")
        return horizons


MODEL_KNOBS: dict[str, frozenset[str]] = {
    "ridge": frozenset({"alpha"}),
    "lightgbm": frozenset(
        {
            "rounds_per_epoch",
            "num_leaves",
            "learning_rate",
            "min_data_in_leaf",
            "feature_fraction",
            "bagging_fraction",
            "lambda_l2",
        }
    ),
    "linear": frozenset({"window"}),
    "mlp": frozenset({"window", "hidden_size", "num_layers", "dropout"}),
    "gru": frozenset({"window", "hidden_size", "num_layers", "dropout"}),
    "atft_gat_fan": frozenset(
        {
            "window",
            "hidden_size",
            "num_heads",
            "num_layers",
            "dropout",
            "variable_selection",
            "frequency_normalisation",
            "num_neighbours",
        }
    ),
}
"""Fields of ModelConfig that each kind of model reads; the others change nothing there. `window` is also a part of the
gaps between train, validation and holdout, whatever the model."""

TABULAR_KINDS: frozenset[str] = frozenset({"ridge", "lightgbm"})
"""Kinds that are fitted to a table of stock-days, each with its own day's features, and not by gradients."""

GRADIENT_SETTINGS: tuple[str, ...] = (
    "optim.",
    "loss.",
    "train.batch_size",
    "train.stocks_per_batch",
    "train.accumulate",
    "train.ema_decay",
    "train.swa_fraction",
    "train.epoch_fraction",
    "train.precision",
)
"""Settings, or beginnings of their names, that change nothing in the training of TABULAR_KINDS."""


def is_read(kind: str, setting: str) -> bool:
    """Whether a dotted setting of the trainer changes anything for this kind of model."""
    section, _, field = setting.partition(".")
    if section == "model":
        return field == "kind" or field in MODEL_KNOBS[kind]
    if kind == "ridge" and setting in ("train.epochs", "train.patience", "train.seed"):
        return False
    return kind not in TABULAR_KINDS or not setting.startswith(GRADIENT_SETTINGS)


class ModelConfig(Section):
    """The ranker. Which fields a kind reads is listed in MODEL_KNOBS."""

    kind: Literal["ridge", "lightgbm", "linear", "mlp", "gru", "atft_gat_fan"] = "atft_gat_fan"
    window: Annotated[int, Field(ge=1, le=250)] = 20
    """Look-back of a score in trading days, today included, in total over all layers."""
    hidden_size: Annotated[int, Field(ge=4, le=4096)] = 32
    num_heads: Annotated[int, Field(ge=1, le=64)] = 4
    """Attention heads; must divide hidden_size."""
    num_layers: Annotated[int, Field(ge=1, le=16)] = 2
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    variable_selection: bool = True
    """Whether features are embedded one by one and weighed by a gate that sees all of them; else one linear map."""
    frequency_normalisation: bool = False
    """Whether dominant frequencies of each feature are taken out and scored on a path of their own."""
    num_neighbours: Annotated[int, Field(ge=0, le=256)] = 0
    """Neighbours of a stock in the graph attention across stocks; 0: no graph attention."""
    alpha: NonNegative = 1e-3
    """Ridge: penalty on the squared coefficients, times the number of samples; features have variance 1."""
    rounds_per_epoch: Annotated[int, Field(ge=1, le=10_000)] = 25
    """Trees that an epoch adds per horizon; with the default number of epochs LightGBM's own 100."""
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 31
    """Most leaves of a tree (LightGBM's default and range)."""
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Share of its output that a tree adds (LightGBM's default)."""
    min_data_in_leaf: Annotated[int, Field(ge=1)] = 20
    """Fewest stock-days in a leaf (LightGBM's default, made for data with less noise than returns have)."""
    feature_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the features that a tree may use, drawn anew for each (LightGBM's default)."""
    bagging_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the stock-days that a tree sees, drawn anew for each (LightGBM's default)."""
    lambda_l2: NonNegative = 0.0
    """Penalty on the squared outputs of leaves (LightGBM's default)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "num_heads" in MODEL_KNOBS[self.kind] and self.hidden_size % self.num_heads:
            raise ValueError(
                f"model.num_heads={self.num_heads} does not divide model.hidden_size={self.hidden_size}; "
                f"choose a divisor of {self.hidden_size}"
            )
        if self.kind == "atft_gat_fan" and self.window < 4:
            raise ValueError(f"model.window={self.window} is too short for atft_gat_fan; choose 4 or more")
        return self


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


class LossPhase(Section):
    """A part of the training. Its factors multiply the weights of LossConfig."""

    fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    """Share of the epochs it lasts; the phases' shares add up to 1."""
    mse: NonNegative = 1.0
    huber: NonNegative = 1.0
    ic: NonNegative = 1.0
    rank_ic: NonNegative = 1.0
    sharpe: NonNegative = 1.0


LOSS_TERMS: tuple[str, ...] = tuple(LossWeights.model_fields)

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


class LossConfig(LossWeights):
    """Weights of the loss terms, over horizons and over the training."""

    horizon_weights: tuple[NonNegative, ...] | None = None
    """One weight per horizon; None: in proportion to 1 / sqrt(horizon), because labels over many days overlap: they are
    fewer independent observations, and equal weights let the model learn their noise."""
    phases: tuple[LossPhase, ...] = ()
    """Factors on the weights over the training, in order: a list of phases or a name in PHASE_PRESETS;
    empty: constant weights."""

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
        total = sum(phase.fraction for phase in self.phases)
        if self.phases and abs(total - 1.0) > 1e-6:
            raise ValueError(f"loss.phases: the fractions add up to {total:g}; make them add up to 1")
        for phase in self.phases or (LossPhase(fraction=1.0),):
            if not any(getattr(self, term) * getattr(phase, term) > 0 for term in LOSS_TERMS):
                raise ValueError(f"loss: in every phase at least one of {', '.join(LOSS_TERMS)} must be above 0")
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
    plateau_patience: Annotated[int, Field(ge=0, le=10_000)] = 2
    clip_norm: NonNegative = 1.0
    """Limit of the norm of the whole gradient; 0: off."""
    clip_value: NonNegative = 0.0
    """Limit of every gradient element; 0: off."""
    clip_adaptive: NonNegative = 0.0
    """Limit of a unit's gradient norm as a share of its weight norm (AGC, Brock et al. 2021); 0: off."""


class TrainConfig(Section):
    """The loop."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
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
    `lag1_rank_ic_5d`, ..."""
    score_epochs: Annotated[int, Field(ge=1, le=10_000)] = 3
    """Last epochs averaged into the score; less noisy than one epoch alone, and no choice of the luckiest."""
    precision: Literal["bf16", "fp32"] = "bf16"
    device: str = "auto"
    """`auto`: cuda where there is one, else cpu; or a torch device name."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads for torch and for LightGBM; 0: leave torch's own choice."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="after")
    def _fraction_needs_groups(self) -> Self:
        if self.epoch_fraction < 1 and not self.stocks_per_batch:
            raise ValueError("train.epoch_fraction below 1 draws groups of stocks; set train.stocks_per_batch above 0")
        return self

    @model_validator(mode="after")
    def _one_average(self) -> Self:
        if self.ema_decay and self.swa_fraction:
            raise ValueError("train: choose one of ema_decay and swa_fraction; set the other to 0")
        return self


class TrainerConfig(Section):
    """One training run, completely."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()

    @property
    def num_epochs(self) -> int:
        """Epochs of a training that nobody stops: `ridge` is solved in its first one."""
        return 1 if self.model.kind == "ridge" else self.train.epochs
