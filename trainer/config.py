"""The trainer's configuration: frozen, typed, unknown keys refused. The single source of every default."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    embargo_days: Annotated[int, Field(ge=0)] = 0
    """Extra trading days in every gap."""
    num_folds: Annotated[int, Field(ge=1, le=20)] = 1
    """Walk-forward folds; the validation window is divided into this many, each trained on what precedes it."""
    scheme: Literal["expanding", "rolling"] = "expanding"
    """Whether later folds keep the early training days."""


class DataConfig(Section):
    """Which panel, which labels."""

    source: str = "planted:realistic"
    """`planted:clean|realistic|null`, or the path of a Parquet/CSV file or folder."""
    horizons: tuple[Annotated[int, Field(ge=1, le=250)], ...] = (1, 5, 10, 20)
    """Label horizons in trading days, ascending."""
    target: Literal["raw", "neutral"] = "raw"
    """What the loss is computed on: forward return, or its residual on style ranks and sector."""
    target_lag: Literal[0, 1] = 0
    """0: the position is entered at the close of the day; 1: one close later."""
    min_price: NonNegative = 0.0
    """Stock-days whose close is below this are masked; 0: none."""
    split: SplitConfig = SplitConfig()


class ModelConfig(Section):
    """The ranker."""

    kind: Literal["linear", "mlp", "gru", "atft_gat_fan"] = "atft_gat_fan"
    window: Annotated[int, Field(ge=1, le=250)] = 20
    """Look-back of a score in trading days, in total over all layers."""
    hidden_size: Annotated[int, Field(ge=4, le=4096)] = 32
    num_heads: Annotated[int, Field(ge=1, le=64)] = 4
    """Attention heads; must divide hidden_size."""
    num_layers: Annotated[int, Field(ge=1, le=16)] = 2
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"model.num_heads={self.num_heads} does not divide model.hidden_size={self.hidden_size}; "
                f"choose a divisor of {self.hidden_size}"
            )
        return self


class LossConfig(Section):
    """Weights of the loss terms; each term is scaled to order one, so that weights compare."""

    mse: NonNegative = 1.0
    ic: NonNegative = 0.0
    rank_ic: NonNegative = 0.3
    horizon_weights: tuple[NonNegative, ...] | None = None
    """One weight per horizon; None: equal."""

    @model_validator(mode="after")
    def _something_to_minimise(self) -> Self:
        if self.mse + self.ic + self.rank_ic <= 0:
            raise ValueError("loss: at least one of mse, ic, rank_ic must be above 0")
        return self


class OptimConfig(Section):
    """Optimizer and learning-rate schedule."""

    name: Literal["adamw"] = "adamw"
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    """Peak learning rate."""
    weight_decay: NonNegative = 1e-2
    """Not applied to norms and biases."""
    warmup_fraction: Unit = 0.1
    """Share of all optimizer steps over which the rate rises linearly."""
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: NonNegative = 1.0
    """Gradient norm limit; 0: no clipping."""


class TrainConfig(Section):
    """The loop."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 12
    batch_size: Annotated[int, Field(ge=1)] = 2048
    """Labelled stock-days per optimizer step (a span of days for a set of stocks)."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Epochs without a new best trailing score before early stopping; 0: never."""
    monitor: str = "rank_ic"
    """The validation metric that is maximised: `rank_ic` (mean over horizons), `rank_ic_5d`, `neutral_rank_ic`,
    `lag1_rank_ic_5d`, ..."""
    score_epochs: Annotated[int, Field(ge=1)] = 3
    """Epochs averaged into the score; less noisy than the best epoch."""
    precision: Literal["bf16", "fp32"] = "bf16"
    device: str = "auto"
    """`auto`: cuda where there is one, else cpu; or a torch device name."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads for torch; 0: leave torch's own choice."""
    seed: Annotated[int, Field(ge=0)] = 0


class TrainerConfig(Section):
    """One training run, completely."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
