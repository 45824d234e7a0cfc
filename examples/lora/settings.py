"""Every setting of a fine-tuning, with its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Settings(BaseModel):
    """One fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    corpus: Path | None = None
    """A text file in UTF-8; None: a small corpus is made."""
    weights: Path | None = None
    """A folder with a causal language model and its tokenizer, as `save_pretrained` writes them; None: a small model is
    made from `hidden_size` and `num_layers`, reads bytes, and learns its embeddings and its head too."""
    hidden_size: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    """Width of the model that is made."""
    num_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the model that is made."""
    passage: Annotated[int, Field(ge=4)] = 32
    """Tokens of a passage. An example is two passages, one after the other in the text."""

    epochs: Annotated[int, Field(ge=1)] = 6
    """Passes over the training examples."""
    batch: Annotated[int, Field(ge=1)] = 16
    """Examples of an optimizer step."""
    accumulate: Annotated[int, Field(ge=1)] = 2
    """Parts that a step's examples go through the model in. An example is told apart from those of its part alone."""
    rate: Annotated[float, Field(gt=0.0)] = 3e-3
    """Peak learning rate."""
    warmup: Fraction = 0.1
    """Share of all steps over which the rate rises; then it falls to 0 along a cosine."""
    checkpointing: bool = True
    """Compute a layer's activations again for its gradient, instead of keeping them."""

    rank: Annotated[int, Field(ge=1)] = 8
    """Of the adapters' matrices."""
    alpha: Annotated[float, Field(gt=0.0)] = 16.0
    """Adapters count alpha / rank times."""
    dropout: Fraction = 0.0
    """Of what goes into an adapter."""
    targets: Literal["attention", "linear"] = "attention"
    """Which layers have adapters: queries and values of the attention, or every linear layer but the head."""
    four_bit: bool = False
    """Keep the base model's matrices in 4 bits (NF4), as bitsandbytes does."""

    contrast: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight of the contrastive term beside the language loss."""
    temperature: Annotated[float, Field(gt=0.0)] = 0.1
    """Of the contrastive term's similarities."""

    budget: ByteSize = ByteSize(6 * 10**9)
    """Memory that a training may take (`6GB`): one that needs more is refused."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto: on a GPU where there is one."""
    seed: int = 0
    """Of the adapters' first values, dropout and the order of examples."""
