"""A loss term and a validation metric of your own."""

import math

import torch
from torch.nn import functional


def margin(scores: torch.Tensor, returns: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """How far the day's better half is not scored above the other half; 1 for scores of 0."""
    cost = functional.softplus(-side(returns, valid) * scores) / math.log(2)
    return (cost * valid).sum(dim=(0, 1)) / valid.sum(dim=(0, 1)).clamp(min=1)


def hit_rate(scores: torch.Tensor, returns: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Share of the day's stocks that are scored into the half that they end in, less one half."""
    hits = side(scores, valid) == side(returns, valid)
    return (hits & valid).sum(dim=1) / valid.sum(dim=1) - 0.5


def side(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    middle = values.masked_fill(~valid, torch.nan).nanmedian(dim=1, keepdim=True).values
    return torch.where(values > middle, 1.0, -1.0)
