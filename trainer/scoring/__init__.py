"""Scores of a model and their metrics."""
