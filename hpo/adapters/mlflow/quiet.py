"""MLflow made quiet, in one place: import `MlflowClient` and friends from here, never before it.

MLflow says much that concerns nobody here: telemetry, progress bars, migration logs, advice about its own API. What
matters reaches people as an exception.
"""

from __future__ import annotations

import logging
import os
import warnings

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A tracking server that is down is asked again at the next pass, so there is no point in insisting.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # Connections per process; the default is fifteen.
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "1",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "1",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import (
        Dataset,
        DatasetInput,
        InputTag,
        LoggedModel,
        LoggedModelOutput,
        LoggedModelStatus,
        Metric,
        Param,
        Run,
        RunTag,
    )
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature
    from mlflow.store.db import utils as store_utils
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

warnings.filterwarnings("ignore", module="mlflow")
# A failed statement is logged with its traceback before it is raised; the exception says it all.
logging.getLogger("mlflow").setLevel(logging.CRITICAL)
logging.getLogger("alembic").setLevel(logging.WARNING)

__all__ = [
    "AnyType",
    "ColSpec",
    "Dataset",
    "DatasetInput",
    "InputTag",
    "LoggedModel",
    "LoggedModelOutput",
    "LoggedModelStatus",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "ModelSignature",
    "ModelVersion",
    "Param",
    "Run",
    "RunTag",
    "Schema",
    "mlflow",
    "store_utils",
]
