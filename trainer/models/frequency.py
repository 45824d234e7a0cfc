"""Frequency-adaptive normalisation: dominant frequencies of each feature leave the main path, causally."""

from __future__ import annotations

import math

import torch
from torch import nn

LEAST_POWER = 1e-3
"""Added to a window's total power, so that the shares of a series near 0 do not hang on rounding."""


class FrequencyNormalisation(nn.Module):
    """Splits each feature into a part made of its dominant frequencies and the rest.

    Starting point: frequency adaptive normalisation (Ye et al., NeurIPS 2024), which removes the largest Fourier
    components of an input window and predicts from them on a path of their own. Here the transform slides: the
    spectrum of day t is that of the `days` days ending at t, so that the layer is causal. A component is taken out by
    a learned smooth threshold on its share of the power, not by a top-k choice, which would jump.
    """

    analysis: torch.Tensor
    synthesis: torch.Tensor

    def __init__(self, days: int) -> None:
        super().__init__()
        self.days = days
        self.frequencies = days // 2 + 1
        lag = torch.arange(days - 1, -1, -1, dtype=torch.float64)  # the newest day comes last and has phase 0
        angle = 2 * math.pi / days * torch.outer(torch.arange(self.frequencies, dtype=torch.float64), lag)
        twins = torch.full((self.frequencies, 1), 2.0, dtype=torch.float64)  # a frequency and its mirror image
        twins[0] = 1.0
        if days % 2 == 0:
            twins[-1] = 1.0
        scale = (twins / days).sqrt()
        kernel = torch.cat([angle.cos() * scale, angle.sin() * scale])
        self.register_buffer("analysis", kernel.float(), persistent=False)
        self.register_buffer("synthesis", scale.float(), persistent=False)
        self.threshold = nn.Parameter(torch.full((self.frequencies, 1), 0.5))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(20.0)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: [T, S, F] -> (rest, dominant), each float32 [T - days + 1, S, F], with rest + dominant = x."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            windows = x.flatten(1).unfold(0, self.days, 1).transpose(1, 2)  # [T', days, S * F], a view
            real, imaginary = torch.split(self.analysis @ windows, self.frequencies, dim=1)
            power = real.square() + imaginary.square()
            share = power / (power.sum(dim=1, keepdim=True) + LEAST_POWER)
            gate = torch.sigmoid((share - self.threshold) * self.log_sharpness.exp())
            dominant = (gate * real * self.synthesis).sum(dim=1).view(-1, *x.shape[1:])
            return x[self.days - 1 :] - dominant, dominant
