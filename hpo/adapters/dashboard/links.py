"""Where the two user interfaces show what: addresses for notes that lead from one to the other."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

PORTS = {"optuna": 8080, "mlflow": 5000}
"""Where `hpo dashboard` serves them unless it is told otherwise."""

TRAINING = "workflowType=machine_learning"
"""Has the MLflow UI show training runs, and not what it has for language models."""


def optuna_study(study_id: int) -> str:
    """A study's page in optuna-dashboard."""
    return f"http://127.0.0.1:{PORTS['optuna']}/dashboard/studies/{study_id}"


def optuna_trial(study_id: int, number: int) -> str:
    """A trial's page in optuna-dashboard."""
    return f"{optuna_study(study_id)}/trials?numbers={number}"


def mlflow_run(tracking_uri: str, experiment: str, run: str) -> str:
    """A run's page in MLflow: on its tracking server, without credentials, or on our own where it is a database."""
    at = urlsplit(tracking_uri)
    server = f"http://127.0.0.1:{PORTS['mlflow']}"
    if at.scheme in ("http", "https"):
        server = urlunsplit((at.scheme, at.netloc.rpartition("@")[2], at.path.rstrip("/"), "", ""))
    return f"{server}/#/experiments/{experiment}/runs/{run}?{TRAINING}"
