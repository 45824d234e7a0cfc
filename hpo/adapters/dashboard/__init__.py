"""What optuna-dashboard shows of a campaign, and the two web servers."""
