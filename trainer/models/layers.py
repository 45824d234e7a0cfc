"""Blocks that act on each stock-day by itself: variable selection, gated residual block, heads per horizon."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class VariableSelection(nn.Module):
    """Embeds features one by one and weighs them by a gate that sees all of them: [..., F] -> [..., hidden].

    After the variable selection network of Lim et al. (Temporal Fusion Transformers, 2021), factorised: there every
    feature owns a network of hidden^2 weights; here feature f owns `units` hinges silu(x_f * slope + offset), each
    with a row of one shared matrix, and the softmax gate goes through a bottleneck. About F * units * hidden weights.
    """

    def __init__(self, num_features: int, hidden: int, units: int = 4) -> None:
        super().__init__()
        bottleneck = max(hidden // 4, 4)
        self.slope = nn.Parameter(torch.randn(units, num_features))
        self.offset = nn.Parameter(torch.randn(units, num_features) * 0.5)
        self.squeeze = nn.Linear(num_features, bottleneck)
        self.weigh = nn.Linear(bottleneck, num_features)
        self.embed = nn.Linear(num_features * units, hidden)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Importance of each feature in each stock-day, mean 1: [..., F]."""
        logits: torch.Tensor = self.weigh(functional.silu(self.squeeze(x)))
        return logits.softmax(dim=-1) * x.shape[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pieces = functional.silu(torch.addcmul(self.offset, x.unsqueeze(-2), self.slope))
        embedded: torch.Tensor = self.embed((pieces * self.weights(x).unsqueeze(-2)).flatten(-2))
        return embedded


class GatedResidual(nn.Module):
    """h + dropout(W3(silu(W1 n) * W2 n)), n = layer-normed h: a gated residual block (Shazeer 2020, GLU variants)."""

    def __init__(self, hidden: int, dropout: float, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.gate = nn.Linear(hidden, expansion * hidden)
        self.value = nn.Linear(hidden, expansion * hidden)
        self.contract = nn.Linear(expansion * hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        normed = self.norm(h)
        change: torch.Tensor = self.dropout(self.contract(functional.silu(self.gate(normed)) * self.value(normed)))
        return h + change


class HorizonHeads(nn.Module):
    """A small network per horizon: [..., hidden] -> [..., H]. Scores start near 0."""

    def __init__(self, hidden: int, num_horizons: int) -> None:
        super().__init__()
        self.units = max(hidden // 4, 4)
        self.norm = nn.LayerNorm(hidden)
        self.expand = nn.Linear(hidden, num_horizons * self.units)
        self.read = nn.Parameter(torch.randn(num_horizons, self.units) * 0.1 / self.units**0.5)
        self.bias = nn.Parameter(torch.zeros(num_horizons))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        units = functional.silu(self.expand(self.norm(h)))
        return (units.view(*h.shape[:-1], -1, self.units) * self.read).sum(dim=-1) + self.bias
