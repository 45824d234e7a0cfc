"""Sparse attention of each stock to its neighbours on the same day."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from trainer.models.graph import Graph


class GraphAttention(nn.Module):
    """Multi-head attention over a stock's neighbours, gathered by index: [T, S, hidden] -> [T, S, hidden].

    After Velickovic et al. (Graph Attention Networks, 2018) and its additive attention; the edges' weights join the
    logits. Neighbours that are masked on the day do not take part; a stock without neighbours keeps its state.
    """

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.message = nn.Linear(hidden, hidden)
        self.sending = nn.Linear(hidden, heads)
        self.receiving = nn.Linear(hidden, heads)
        self.edge = nn.Parameter(torch.ones(heads))
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, h: torch.Tensor, graph: Graph, mask: torch.Tensor) -> torch.Tensor:
        days, stocks, hidden = h.shape
        normed = self.norm(h)
        index = graph.neighbours.clamp(min=0) + torch.arange(days, device=h.device).view(-1, 1, 1) * stocks
        usable = (graph.neighbours >= 0) & mask.flatten()[index]
        sending = functional.embedding(index, self.sending(normed).flatten(0, 1))  # [T, S, K, heads]
        logits = functional.leaky_relu(self.receiving(normed).unsqueeze(2) + sending, 0.2)
        logits = logits + graph.weights.unsqueeze(-1) * self.edge
        attention = logits.float().masked_fill(~usable.unsqueeze(-1), -1e9).softmax(dim=2) * usable.unsqueeze(-1)
        messages = functional.embedding(index, self.message(normed).flatten(0, 1))
        messages = messages.view(*index.shape, self.heads, hidden // self.heads)
        mixed = (self.dropout(attention).unsqueeze(-1) * messages).sum(dim=2).view(days, stocks, hidden)
        change: torch.Tensor = torch.sigmoid(self.gate(normed)) * self.out(mixed)
        return h + change * usable.any(dim=2, keepdim=True)
