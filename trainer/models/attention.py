"""Causal temporal attention within a band of days, computed block by block."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

BLOCK_DAYS = 16
"""Queries that are answered together; their keys are the block's own days and the band before them."""


class BandedAttention(nn.Module):
    """Multi-head attention of each day to its last `band` days: [T, S, hidden] -> [T - band + 1, S, hidden].

    The first band - 1 days only serve as keys. Days are told apart by a learned bias per head and lag.
    The cost grows with T * (BLOCK_DAYS + band), not with T squared.
    """

    def __init__(self, hidden: int, heads: int, band: int, dropout: float) -> None:
        super().__init__()
        self.band, self.heads, self.dropout = band, heads, dropout
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)
        self.lag_bias = nn.Parameter(torch.zeros(heads, band))
        self.out = nn.Linear(hidden, hidden)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        days, stocks, hidden = h.shape
        scored = days - self.band + 1
        block = min(BLOCK_DAYS, scored)
        blocks = -(-scored // block)
        normed = functional.pad(self.norm(h), (0, 0, 0, 0, 0, blocks * block - scored))
        query = self.query(normed[self.band - 1 :]).view(blocks, block, stocks, self.heads, -1)
        keys = self.key_value(normed).unfold(0, block + self.band - 1, block)  # [blocks, S, 2 hidden, reach]
        key, value = keys.unflatten(2, (2, self.heads, -1)).unbind(2)  # [blocks, S, heads, head, reach]
        mixed = functional.scaled_dot_product_attention(
            query.permute(0, 2, 3, 1, 4),
            key.transpose(-1, -2),
            value.transpose(-1, -2),
            attn_mask=self._bias(block).to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )
        mixed = mixed.permute(0, 3, 1, 2, 4).reshape(blocks * block, stocks, hidden)[:scored]
        return h[self.band - 1 :] + self.out(mixed)

    def _bias(self, block: int) -> torch.Tensor:
        """Added to the attention logits of a block, [heads, block, block + band - 1]; -inf outside the band."""
        device = self.lag_bias.device
        last = torch.arange(block, device=device).unsqueeze(1) + self.band - 1
        lag = last - torch.arange(block + self.band - 1, device=device)
        inside = (lag >= 0) & (lag < self.band)
        return self.lag_bias[:, lag.clamp(0, self.band - 1)].masked_fill(~inside, -torch.inf)
