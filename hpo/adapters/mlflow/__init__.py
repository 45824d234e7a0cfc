"""The projection of a campaign into MLflow."""
