"""A ranker of your own: today's features and a moving average of them, through one hidden layer."""

import torch
from pydantic import BaseModel, Field
from torch import nn
from torch.nn import functional

from trainer.config import ModelConfig
from trainer.models import Ranker


class Settings(BaseModel):
    width: int = Field(16, ge=2, le=512)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)


class Lagged(Ranker):
    schema = Settings

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config.window)
        self.inner = nn.Linear(2 * num_features, config.own.width)
        self.dropout = nn.Dropout(config.own.dropout)
        self.outer = nn.Linear(config.own.width, num_horizons)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: object) -> torch.Tensor:
        average = x.unfold(0, self.window, 1).mean(-1)
        both = torch.cat([x[self.window - 1 :], average], dim=-1)
        return self.outer(self.dropout(functional.silu(self.inner(both))))
