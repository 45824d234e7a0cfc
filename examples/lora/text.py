"""Examples for training, validation and holdout: pairs of passages that follow each other in a text."""

from __future__ import annotations

import random
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lora.settings import Settings

BYTES = 256
"""Tokens of the model that is made: a text's bytes."""
SHARES = (0.7, 0.15, 0.15)
"""Of the text, in its order: training, validation, holdout."""
PARAGRAPHS = 240
Pairs = NDArray[np.int32]
"""[N, 2, passage], tokens."""


def examples(settings: Settings) -> tuple[Pairs, Pairs, Pairs]:
    """For training, validation and holdout. Raises ValueError where the text is too short, OSError and ValueError where
    text or tokenizer cannot be read."""
    text = made_text() if settings.corpus is None else settings.corpus.read_text(encoding="utf-8")
    tokens = encode(text, settings.weights)
    edges = [int(len(tokens) * share) for share in accumulate((0.0, *SHARES[:-1]))] + [len(tokens)]
    parts = [_pairs(tokens[start:stop], settings.passage) for start, stop in pairwise(edges)]
    if any(len(part) < 2 for part in parts):
        needed = int(4 * settings.passage / min(SHARES)) + 1
        raise ValueError(f"the text has {len(tokens)} tokens, and {needed} are needed for passages of this length")
    return parts[0], parts[1], parts[2]


def encode(text: str, weights: Path | None) -> NDArray[np.int32]:
    """A text's tokens."""
    if weights is None:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
    return np.asarray(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int32)


def made_text(seed: int = 0) -> str:
    """Paragraphs of made-up words, each about one of a few subjects: what stands near belongs together."""
    rng = random.Random(seed)
    syllables = [consonant + vowel for consonant in "bdfklmnprst" for vowel in "aeiou"]
    common = ["".join(rng.choices(syllables, k=rng.randint(1, 2))) for _ in range(20)]
    subjects = [["".join(rng.choices(syllables, k=rng.randint(2, 3))) for _ in range(25)] for _ in range(6)]
    paragraphs = []
    for _ in range(PARAGRAPHS):
        own = rng.choice(subjects)
        sentences = [_sentence(rng, common, own) for _ in range(rng.randint(4, 8))]
        paragraphs.append(" ".join(sentences))
    return "\n".join(paragraphs)


def _sentence(rng: random.Random, common: list[str], own: list[str]) -> str:
    words = [rng.choice(own if rng.random() < 0.5 else common) for _ in range(rng.randint(4, 8))]
    return f"{' '.join(words).capitalize()}."


def _pairs(tokens: NDArray[np.int32], passage: int) -> Pairs:
    number = len(tokens) // (2 * passage)
    return tokens[: number * 2 * passage].reshape(number, 2, passage)
