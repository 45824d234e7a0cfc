"""How sure one can be of a daily series of scores, and how much of a best score is luck. NumPy and SciPy only."""
