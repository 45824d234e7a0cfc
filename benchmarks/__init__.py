"""Measurements of the search and of the trainer beside their references: `python -m benchmarks.NAME`."""
