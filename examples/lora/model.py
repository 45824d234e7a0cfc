"""The base model, its adapters, and what they are trained for."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched, whatever a folder of weights refers to

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedModel
from transformers.utils import logging

from hpo.trainable import TrialFailure
from lora.settings import Settings
from lora.text import BYTES

logging.disable_progress_bar()

BASE_SEED = 0
"""Of the model that is made: the same one in every trial."""
TARGETS = {"attention": ["q_proj", "v_proj"], "linear": "all-linear"}
LEARNT = ["embed_tokens", "lm_head"]
"""What a base model that was never trained learns beside its adapters."""


def device_of(settings: Settings) -> torch.device:
    """Where a training runs here."""
    if settings.device != "auto":
        return torch.device(settings.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(device: torch.device) -> torch.dtype:
    """What the base model is kept and multiplied in."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def described(settings: Settings) -> str:
    """On what a training runs here, and in which arithmetic."""
    device = device_of(settings)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU {platform.machine()}"
    kept = ", base in NF4" if settings.four_bit else ""
    return f"{name}, {str(dtype_of(device)).removeprefix('torch.')}{kept}; torch {torch.__version__}"


def tuned(settings: Settings, base: PreTrainedModel) -> PeftModel:
    """The base model with adapters; `settings.seed` draws their first values."""
    torch.manual_seed(settings.seed)
    if settings.checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    adapters = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=TARGETS[settings.targets],
        modules_to_save=LEARNT if settings.weights is None else None,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, adapters)


def base_model(settings: Settings, device: torch.device) -> PreTrainedModel:
    """The model that is tuned, on the device. TrialFailure where it is wanted in 4 bits and they do not run here."""
    dtype = dtype_of(device)
    if settings.weights is not None:
        base = AutoModelForCausalLM.from_pretrained(settings.weights, local_files_only=True, dtype=dtype)
    else:
        torch.manual_seed(BASE_SEED)
        base = outline(settings).to(dtype)
    if settings.four_bit:
        check_four_bit(device)
        _pack(base, device)
    return base.to(device)


def outline(settings: Settings) -> PreTrainedModel:
    """The base model with random values, or none on the device `meta`."""
    if settings.weights is None:
        return AutoModelForCausalLM.from_config(made_config(settings))
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(settings.weights, local_files_only=True))


def made_config(settings: Settings) -> LlamaConfig:
    """A small Llama (Touvron et al. 2023) over bytes."""
    return LlamaConfig(
        vocab_size=BYTES,
        hidden_size=settings.hidden_size,
        intermediate_size=2 * settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=max(128, settings.passage),
        bos_token_id=None,
        eos_token_id=None,
    )


def check_four_bit(device: torch.device) -> None:
    """Raise TrialFailure, in one sentence, where 4-bit matrices do not run."""
    try:
        import bitsandbytes

        layer = bitsandbytes.nn.Linear4bit(64, 64, compute_dtype=dtype_of(device), quant_type="nf4").to(device)
        layer(torch.zeros(1, 64, dtype=dtype_of(device), device=device))
    except Exception as error:  # a library that is missing, or was built for other devices
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrialFailure(
            "four_bit", f"four_bit=true: bitsandbytes does not run on {device} ({said}); install it, or leave it out."
        ) from None


def language_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean negative log-likelihood of each passage's tokens after its first, in nats. [B, T, V], [B, T] -> [B]"""
    losses = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), tokens[:, 1:], reduction="none")
    return losses.mean(dim=1)


def contrastive_loss(hidden: Tensor, temperature: float) -> Tensor:
    """How badly each passage is told to belong to the one after it, among those of all examples: InfoNCE (van den Oord
    et al. 2018) over cosine similarities of mean hidden states, both ways. Neighbours as positives: Giorgi et al. 2021.

    hidden: [2 N, T, H], first passages before second ones; a scalar, 0 where there is one example.
    """
    first, second = functional.normalize(hidden.float().mean(dim=1), dim=-1).chunk(2)
    similar = first @ second.T / temperature
    own = torch.arange(len(first), device=hidden.device)
    return (functional.cross_entropy(similar, own) + functional.cross_entropy(similar.T, own)) / 2


def losses(model: nn.Module, pairs: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Language loss of each example [N] and the contrastive loss of all. pairs: [N, 2, T]."""
    tokens = torch.cat([pairs[:, 0], pairs[:, 1]])
    with torch.autocast(pairs.device.type, torch.bfloat16, enabled=pairs.device.type == "cuda"):
        said = model(input_ids=tokens, output_hidden_states=True, use_cache=False)
    each = language_loss(said.logits, tokens)
    return (each[: len(pairs)] + each[len(pairs) :]) / 2, contrastive_loss(said.hidden_states[-1], settings.temperature)


def accumulate_gradient(model: nn.Module, pairs: Tensor, settings: Settings) -> Tensor:
    """Add a step's gradient to the parameters', part by part; the language loss, not waited for."""
    total = torch.zeros((), device=pairs.device)
    for part in pairs.chunk(min(settings.accumulate, len(pairs))):
        each, contrast = losses(model, part, settings)
        share = len(part) / len(pairs)
        ((each.mean() + settings.contrast * contrast) * share).backward()
        total += each.mean().detach() * share
    return total


def rate_at(step: int, num_steps: int, settings: Settings) -> float:
    """The learning rate of a step, counted from 0."""
    rising = settings.warmup * num_steps
    if step < rising:
        return settings.rate * (step + 1) / (rising + 1)
    return settings.rate * (1 + math.cos(math.pi * (step - rising) / max(1.0, num_steps - rising))) / 2


def learning(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    """What is trained, by name: adapters, and what is learnt beside them."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def packable(base: nn.Module) -> dict[str, nn.Linear]:
    """The layers whose matrices are kept in 4 bits, by name: all linear ones but the head."""
    named = base.named_modules()
    return {name: layer for name, layer in named if isinstance(layer, nn.Linear) and not name.endswith("lm_head")}


def _pack(base: PreTrainedModel, device: torch.device) -> None:
    """Put the matrices on the device in 4 bits, one after another."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    class Trained(Linear4bit):
        """Always in training mode: in the other one some CPUs pack it anew, in a form that has no gradient."""

        def train(self, mode: bool = True) -> Trained:
            return super().train(True)

    for name, layer in packable(base).items():
        packed = Trained(
            layer.in_features, layer.out_features, layer.bias is not None, compute_dtype=layer.weight.dtype
        )
        packed.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        packed.bias = layer.bias
        base.set_submodule(name, packed.to(device))
        layer.weight.data = torch.empty(0)
    base.is_loaded_in_4bit = True  # what peft chooses the adapters' class by
