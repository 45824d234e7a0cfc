"""The search itself: sampling, tiers, trials, workers, their supervisor."""
