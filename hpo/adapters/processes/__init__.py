"""Processes: who they are, trials and workers as processes, time."""
