"""Addresses that lead from one user interface to the other."""

from __future__ import annotations

import pytest

from hpo.adapters.dashboard import links as addresses


@pytest.mark.parametrize(
    ("tracking_uri", "server"),
    [
        ("postgresql+psycopg2://me:secret@db/x?options=-csearch_path%3Dmlflow", "http://127.0.0.1:5000"),
        ("sqlite:////tmp/mlflow.db", "http://127.0.0.1:5000"),
        ("https://me:secret@tracking.example:8443/mlflow/", "https://tracking.example:8443/mlflow"),
    ],
)
def test_a_run_is_shown_by_its_server_without_credentials(tracking_uri: str, server: str) -> None:
    assert addresses.mlflow_run(tracking_uri, "3", "ab12") == (
        f"{server}/#/experiments/3/runs/ab12?workflowType=machine_learning"
    )


def test_a_trial_is_shown_where_its_study_is() -> None:
    assert addresses.optuna_trial(7, 3) == "http://127.0.0.1:8080/dashboard/studies/7/trials?numbers=3"
