"""Baselines: a linear model, a multi-layer perceptron and a recurrent network over the window."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from trainer.config import ModelConfig
from trainer.graph import Graph
from trainer.models.layers import GatedResidual, HorizonHeads
from trainer.models.ranker import Ranker


class WindowLinear(nn.Module):
    """One linear map of all features of the last `window` days: [T, S, F] -> [T - window + 1, S, out]."""

    def __init__(self, num_features: int, num_outputs: int, window: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(num_features, num_outputs, window)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mapped: torch.Tensor = self.convolution(x.permute(1, 2, 0))
        return mapped.permute(2, 0, 1)


class Linear(Ranker):
    """Linear in every feature of every day of the window."""

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config.window)
        self.map = WindowLinear(num_features, num_horizons, config.window)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        scores: torch.Tensor = self.map(x)
        return scores


class MLP(Ranker):
    """A linear map of the window into gated residual blocks."""

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config.window)
        hidden = config.hidden_size
        self.embedding = WindowLinear(num_features, hidden, config.window)
        self.blocks = nn.Sequential(*(GatedResidual(hidden, config.dropout) for _ in range(config.num_layers)))
        self.heads = HorizonHeads(hidden, num_horizons)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        scores: torch.Tensor = self.heads(self.blocks(self.embedding(x)))
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
