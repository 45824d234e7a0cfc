"""Engines: where a campaign's workers run, and how they are started, followed and ended."""
