"""Times as people write them, on the command line and in settings alike."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from hpo.domain.config import SearchConfig, WorkerConfig
from hpo.domain.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("8h", 28_800), (" 2d ", 172_800), ("0s", 0)]
)
def test_a_time_in_words(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-5m", "5 minutes", "1h30m", "PT1H", "5M"])
def test_what_is_written_otherwise(text: str) -> None:
    assert seconds_of(text) is None


@pytest.mark.parametrize("given", ["30m", "1800", 1800, "PT30M", timedelta(minutes=30)])
def test_settings_take_it_and_keep_it(given: object) -> None:
    worker = WorkerConfig.model_validate({"trial_timeout": given, "timeout": given, "lease": given})
    assert worker.trial_timeout == worker.timeout == worker.lease == timedelta(minutes=30)
    config = SearchConfig(worker=worker)
    assert SearchConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_time_that_cannot_be_meant_is_refused() -> None:
    for wrong in ("0s", "5 minutes", "9999d"):
        with pytest.raises(ValidationError):
            WorkerConfig.model_validate({"trial_timeout": wrong})
