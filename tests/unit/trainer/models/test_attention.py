"""Attention within a band of days."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.models.atft_gat_fan import share_reach
from trainer.models.attention import BandedAttention


@pytest.mark.parametrize("days", [5, 6, 12, 13, 14, 30])
@pytest.mark.parametrize("band", [2, 5])
def test_blocks_equal_one_masked_attention_over_all_days(days: int, band: int) -> None:
    stocks, hidden, heads = 3, 8, 2
    layer = BandedAttention(hidden, heads, band, dropout=0.0).eval()
    torch.nn.init.normal_(layer.lag_bias)
    h = torch.randn(days, stocks, hidden)
    normed = layer.norm(h)
    query, key, value = (
        part.view(days, stocks, heads, -1).permute(1, 2, 0, 3)
        for part in (layer.query(normed), *layer.key_value(normed).chunk(2, dim=-1))
    )
    logits = query @ key.transpose(-1, -2) / math.sqrt(hidden / heads)
    lag = torch.arange(days).view(-1, 1) - torch.arange(days)
    inside = (lag >= 0) & (lag < band)
    logits = (logits + layer.lag_bias[:, lag.clamp(0, band - 1)]).masked_fill(~inside, -torch.inf)
    mixed = (logits.softmax(-1) @ value).permute(2, 0, 1, 3).reshape(days, stocks, hidden)
    expected = (h + layer.out(mixed))[band - 1 :]
    torch.testing.assert_close(layer(h), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("reach", "layers"), [(19, 2), (10, 3), (2, 5), (1, 1)])
def test_layers_share_the_look_back_without_rest(reach: int, layers: int) -> None:
    bands = share_reach(reach, layers)
    assert len(bands) == layers
    assert sum(band - 1 for band in bands) == reach
    assert max(bands) - min(bands) <= 1
