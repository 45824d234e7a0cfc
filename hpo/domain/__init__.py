"""The search's nouns, settings, errors and ports."""
