"""A loss term of your own."""

import math

import torch
from torch.nn import functional


def margin(scores: torch.Tensor, returns: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """How far the day's better half is not scored above the other half; 1 for scores of 0."""
    middle = returns.masked_fill(~valid, torch.nan).nanmedian(dim=1, keepdim=True).values
    side = torch.where(returns > middle, 1.0, -1.0)
    cost = functional.softplus(-side * scores) / math.log(2)
    return (cost * valid).sum(dim=(0, 1)) / valid.sum(dim=(0, 1)).clamp(min=1)
