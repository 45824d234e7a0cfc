"""Models with few parts."""

from __future__ import annotations

from typing import Any

import torch

from trainer.config import ModelConfig
from trainer.models import build_model


def wild(**settings: Any) -> torch.nn.Module:
    model = build_model(ModelConfig(**{"window": 8, "hidden_size": 16, **settings}), 4, 2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_the_gru_reads_its_window_oldest_day_first() -> None:
    model = wild(kind="gru", num_layers=2)
    x, day = torch.randn(24, 3, 4), 15
    with torch.no_grad():
        embedded = torch.nn.functional.silu(model.embedding(x[day - model.window + 1 : day + 1]))
        expected = model.heads(model.recurrence(embedded)[0][-1])
        scores = model(x, torch.ones(24, 3, dtype=torch.bool))
    torch.testing.assert_close(scores[day], expected, rtol=1e-4, atol=1e-5)
