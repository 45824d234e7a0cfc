"""Tiered hyperparameter search for models that rank stocks."""

__version__ = "0.1.0"
