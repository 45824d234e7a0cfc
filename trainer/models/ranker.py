"""The contract of every model: a causal ranker with an exact look-back over a span of days."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pydantic import BaseModel
from torch import nn
from torch.nn import functional

from trainer.config.section import Section
from trainer.models.graph import Graph


class Ranker(nn.Module, ABC):
    """Scores stocks, permutation-equivariant over stocks, causal over days, looking back exactly `window` days.

    A span of T days gives the scores of T - window + 1 days in one pass, each equal to what its own window of days
    alone would give. What is in masked stock-days has no influence, NaN included.
    """

    schema: ClassVar[type[BaseModel]] = Section
    """Class of `ModelConfig.own` for a model of the user's own: pydantic, every field with a default. One named
    `num_neighbours` says how many neighbours the graph has that `score` is given."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None = None, context: int | None = None
    ) -> torch.Tensor:
        """x: [T, S, F], mask: bool [T, S] -> float32 scores [T, S, H], 0 on the first `context` days.

        context: leading days of the span that are only looked back at; None: window - 1. Where it is less than
        window - 1, the days before the span count as masked. Scores of masked stock-days are finite and mean
        nothing. Raises ValueError where no day is left to score.
        """
        context = self.window - 1 if context is None else context
        if not 0 <= context < x.shape[0]:
            raise ValueError(f"a span of {x.shape[0]} days leaves none to score after {context} days of context")
        missing = self.window - 1 - context  # days to add in front, or, where negative, not needed
        x = functional.pad(x.masked_fill(~mask.unsqueeze(-1), 0.0), (0, 0, 0, 0, missing, 0))
        scores = self.score(x, functional.pad(mask, (0, 0, missing, 0)), graph)
        return functional.pad(scores.float(), (0, 0, 0, 0, context, 0))

    @abstractmethod
    def score(self, x: torch.Tensor, mask: torch.Tensor, graph: Graph | None) -> torch.Tensor:
        """Scores [T - window + 1, S, H] of the last days of the span; masked features are 0."""
