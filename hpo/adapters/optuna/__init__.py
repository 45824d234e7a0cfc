"""Optuna's storage on PostgreSQL."""
