"""Fine-tuning of a small causal language model with low-rank adapters, as a trainable of its own."""
