"""How much memory a fine-tuning needs, known before it starts and without taking any."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lora import model
from lora.settings import Settings
from trainer.training.memory import LiveBytes

OPTIMIZER_BYTES = 8
"""AdamW's two averages of a parameter, in float32."""
PACKED_BYTES = 0.5 + 4 / 64
"""Of a parameter in NF4: four bits, and a scale in float32 for every 64 of them."""


def needed(settings: Settings) -> int:
    """Peak bytes of a training: one part of a step is followed on tensors without values, which gives the live bytes of
    weights, gradients and activations exactly as the operators would make them; the optimizer's averages come on top.
    Workspaces of libraries are not seen. On a CPU a base model in 4 bits lies there unpacked at first.
    """
    device = model.device_of(settings)
    size = model.dtype_of(device).itemsize
    with torch.device("meta"):
        base = model.outline(settings).to(model.dtype_of(device))
        whole = size * sum(weight.numel() for weight in base.parameters())
        packed = [layer.weight.numel() for layer in model.packable(base).values()]
        tuned = model.tuned(settings.model_copy(update={"four_bit": False}), base)
    examples = -(-settings.batch // settings.accumulate)
    with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes() as live:
        tuned.to_empty(device="cpu").train()
        pairs = torch.zeros(examples, 2, settings.passage, dtype=torch.int64)
        each, contrast = model.losses(tuned, pairs, settings)
        (each.mean() + settings.contrast * contrast).backward()
    averages = OPTIMIZER_BYTES * sum(weight.numel() for _, weight in model.learning(tuned))
    if not settings.four_bit:
        return int(live.peak) + averages
    # The largest matrix is unpacked while it is used.
    training = int(live.peak) + averages - int(sum(packed) * (size - PACKED_BYTES)) + max(packed) * size
    return max(training, whole) if device.type == "cpu" else training
