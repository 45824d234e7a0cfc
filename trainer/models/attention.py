"""Causal temporal attention within a band of days, computed block by block."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

SHORTEST_BLOCK = 8
"""Fewest days whose queries are answered together; their keys are the block's own days and the band before them."""


class BandedAttention(nn.Module):
    """Multi-head attention of each day to its last `band` days: [T, S, hidden] -> [T - band + 1, S, hidden].

    The first band - 1 days only serve as keys. Days are told apart by a learned bias per head and lag.
    Blocks are as long as the band, so that the cost grows with T * band, not with T squared.
    """

    def __init__(self, hidden: int, heads: int, band: int, dropout: float) -> None:
        super().__init__()
        self.band, self.heads, self.dropout = band, heads, dropout
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)
        # Heads start at different time scales, the first at a day, the last at the whole band.
        slopes = torch.logspace(0, -math.log10(band), heads)
        self.lag_bias = nn.Parameter(-slopes.unsqueeze(1) * torch.arange(band))
        self.out = nn.Linear(hidden, hidden)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        days, stocks, hidden = h.shape
        before, scored = self.band - 1, days - self.band + 1
        block = min(max(self.band, SHORTEST_BLOCK), scored)
        blocks = -(-scored // block)
        normed = functional.pad(self.norm(h), (0, 0, 0, 0, 0, blocks * block - scored))
        query = self.query(normed[before:]).view(blocks, block, stocks, hidden)
        key, value = self._seen(self.key_value(normed), blocks, block).chunk(2, dim=-1)
        mixed = functional.scaled_dot_product_attention(
            self._by_head(query),
            self._by_head(key),
            self._by_head(value),
            attn_mask=self._bias(block).to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )
        mixed = mixed.permute(0, 3, 1, 2, 4).reshape(blocks * block, stocks, hidden)[:scored]
        attended: torch.Tensor = self.out(mixed)
        return h[before:] + attended

    def _seen(self, days_first: torch.Tensor, blocks: int, block: int) -> torch.Tensor:
        """The days each block looks at, its own and the band before: [blocks, band - 1 + block, S, hidden]."""
        before, shape = self.band - 1, (blocks, block, *days_first.shape[1:])
        if blocks == 1:
            return days_first.unsqueeze(0)
        # Slices and one concatenation: `unfold` would do, and its backward costs several times as much.
        earlier = days_first[: blocks * block].view(shape)[:, :before]
        return torch.cat([earlier, days_first[before:].view(shape)], dim=1)

    def _by_head(self, blocks: torch.Tensor) -> torch.Tensor:
        """[blocks, days, S, hidden] -> [blocks, S, heads, days, hidden / heads]."""
        return blocks.view(*blocks.shape[:-1], self.heads, -1).permute(0, 2, 3, 1, 4)

    def _bias(self, block: int) -> torch.Tensor:
        """Added to the attention logits of a block, [heads, block, block + band - 1]; -inf outside the band."""
        device = self.lag_bias.device
        last = torch.arange(block, device=device).unsqueeze(1) + self.band - 1
        lag = last - torch.arange(block + self.band - 1, device=device)
        inside = (lag >= 0) & (lag < self.band)
        return self.lag_bias[:, lag.clamp(0, self.band - 1)].masked_fill(~inside, -torch.inf)
