"""`hpo doctor`: what must hold between a campaign's stores, and what can be mended."""
