"""The temporal fusion ranker: variable selection, frequency normalisation, banded attention, stock graph, heads."""

from __future__ import annotations

import torch
from torch import nn

from trainer.config import ModelConfig
from trainer.models.attention import BandedAttention
from trainer.models.frequency import FrequencyNormalisation
from trainer.models.graph import Graph
from trainer.models.graph_attention import GraphAttention
from trainer.models.layers import GatedResidual, HorizonHeads, VariableSelection
from trainer.models.ranker import Ranker


class AtftGatFan(Ranker):
    """Adaptive temporal fusion transformer with graph attention over stocks and frequency normalisation.

    The window is shared: the frequency normalisation takes half of it where it is on, the attention layers divide
    what is left, so that the look-back of a score is exactly `window` days whatever is switched on.
    """

    def __init__(self, config: ModelConfig, num_features: int, num_horizons: int) -> None:
        super().__init__(config.window)
        hidden, dropout = config.hidden_size, config.dropout
        spectrum_days = config.window // 2 if config.frequency_normalisation else 1
        self.frequency = FrequencyNormalisation(spectrum_days) if config.frequency_normalisation else None
        self.dominant_path = DominantPath(num_features, hidden, num_horizons, dropout) if self.frequency else None
        select = VariableSelection if config.variable_selection else nn.Linear
        self.embedding = select(num_features, hidden)
        self.absent = nn.Parameter(torch.zeros(hidden))
        self.temporal = nn.Sequential()
        for band in share_reach(config.window - spectrum_days, config.num_layers):
            # A day's features meet before days are mixed: what matters may be a product of two features of one day.
            self.temporal.append(GatedResidual(hidden, dropout))
            if band > 1:
                self.temporal.append(BandedAttention(hidden, config.num_heads, band, dropout))
        self.stocks = GraphAttention(hidden, config.num_heads, dropout) if config.num_neighbours else None
        self.heads = HorizonHeads(hidden, num_horizons)

    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        rest = x
        scored = x.shape[0] - self.window + 1
        if self.frequency is not None:
            rest, dominant = self.frequency(x)
        present = mask[-rest.shape[0] :].unsqueeze(-1)
        h = self.temporal(torch.where(present, self.embedding(rest), self.absent))
        if self.stocks is not None:
            if graph is None:
                raise ValueError("a model with num_neighbours > 0 must be given a graph")
            h = self.stocks(h, graph.last(scored), mask[-scored:])
        scores: torch.Tensor = self.heads(h)
        if self.dominant_path is not None:
            scores = scores + self.dominant_path(dominant[-scored:], x[-scored:])
        return scores


class DominantPath(nn.Module):
    """Scores from the dominant frequencies and today's features: the second path of the frequency normalisation."""

    def __init__(self, num_features: int, hidden: int, num_horizons: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(2 * num_features, hidden)
        self.block = GatedResidual(hidden, dropout, expansion=1)
        self.heads = HorizonHeads(hidden, num_horizons)

    def forward(self, dominant: torch.Tensor, today: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.heads(self.block(self.embedding(torch.cat([dominant, today], dim=-1))))
        return scores


def share_reach(reach: int, layers: int) -> list[int]:
    """Bands (days seen, today included) of the layers whose days before today add up to reach, earlier ones longer."""
    each, rest = divmod(reach, layers)
    return [1 + each + (layer < rest) for layer in range(layers)]
