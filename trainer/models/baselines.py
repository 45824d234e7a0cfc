"""Baselines: a linear model, a multi-layer perceptron and a recurrent network over the window."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from trainer.config import ModelConfig
from trainer.models.graph import Graph
from trainer.models.layers import GatedResidual, HorizonHeads
from trainer.models.ranker import Ranker


class LagWeights(nn.Module):
    """Sums the last `window` days of each unit with learned weights: [T, S, units] -> [T - window + 1, S, units].

    It starts from today alone. One weight per unit and day, where a full matrix would need one per feature too: with
    20 days of strongly related features that many weights fit noise.
    """

    def __init__(self, units: int, window: int) -> None:
        super().__init__()
        today = torch.zeros(units, 1, window)
        today[..., -1] = 1.0
        self.weight = nn.Parameter(today)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        summed = functional.conv1d(h.permute(1, 2, 0), self.weight, groups=h.shape[2])
        return summed.permute(2, 0, 1)


class Linear(Ranker):
    """Linear in the features of every day of the window; a weight is one of the feature times one of the day."""

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config.window)
        self.features = nn.Linear(num_features, num_horizons)
        self.days = LagWeights(num_horizons, config.window)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        scores: torch.Tensor = self.days(self.features(x))
        return scores


class MLP(Ranker):
    """A hidden layer on each day's features, its units summed over the window, then gated residual blocks."""

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config.window)
        hidden = config.hidden_size
        self.embedding = nn.Linear(num_features, hidden)
        self.days = LagWeights(hidden, config.window)
        self.blocks = nn.Sequential(*(GatedResidual(hidden, config.dropout) for _ in range(config.num_layers)))
        self.heads = HorizonHeads(hidden, num_horizons)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        summed = self.days(functional.silu(self.embedding(x)))
        scores: torch.Tensor = self.heads(self.blocks(summed))
        return scores


class GRU(Ranker):
    """A recurrent network that starts afresh in every window.

    A state carried through a span would look back further than the window, so each day's window is run on its own:
    exact, and `window` times the work of a model that shares its layers between overlapping windows.
    """

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config.window)
        hidden, layers = config.hidden_size, config.num_layers
        self.embedding = nn.Linear(num_features, hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.recurrence = nn.GRU(hidden, hidden, layers, dropout=config.dropout if layers > 1 else 0.0)
        self.heads = HorizonHeads(hidden, num_horizons)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        embedded = self.dropout(functional.silu(self.embedding(x)))
        windows = embedded.unfold(0, self.window, 1)  # [T', S, hidden, window]
        days, stocks, hidden, _ = windows.shape
        states, _ = self.recurrence(windows.permute(3, 0, 1, 2).reshape(self.window, days * stocks, hidden))
        scores: torch.Tensor = self.heads(states[-1].view(days, stocks, hidden))
        return scores
