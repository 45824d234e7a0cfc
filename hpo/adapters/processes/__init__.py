"""Processes: who they are, trials as processes, time."""
