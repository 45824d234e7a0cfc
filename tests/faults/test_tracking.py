"""MLflow is away, comes and goes, answers nonsense: no trial notices, and in the end it holds what it should hold."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from mlflow import MlflowClient
from support.arena import until
from support.gate import Gate, TrackingServer
from support.plans import Fault
from support.tree import Tree

from hpo.domain.campaign import experiment_name
from hpo.runs.folder import runs

pytestmark = pytest.mark.slow_faults

SETTINGS = ("trials=4",)
HASTY = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
CLOCKS = (
    "system/",
    "epoch_seconds",
    "report/device_hours",
    "tiertune.fingerprint",
    "mlflow.user",
    "mlflow.source",
    "mlflow.artifactLocation",
)
"""Beginnings of names whose values differ between any two runs."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("tracking"))
    try:
        until(server.is_up)
        yield server
    finally:
        server.close()


@pytest.fixture
def gate(server: TrackingServer) -> Iterator[Gate]:
    gate = Gate(server.port)
    yield gate
    gate.close()


@pytest.fixture
def tracked(tree: Tree, gate: Gate) -> Tree:
    """Real searches whose records go through the gate."""
    return Tree(tree.arena, {"MLFLOW_TRACKING_URI": gate.uri, **HASTY})


@pytest.mark.parametrize("mood", ["closed", "error", "nonsense", "silent"])
def test_a_tracker_that_goes_away_amid_a_search_is_brought_up_to_date_later(
    tracked: Tree, gate: Gate, mood: str
) -> None:
    name = f"tracker-{mood}"
    process = tracked.start(name, *SETTINGS)
    tracked.wait_for_epoch(name)
    gate.mood = mood
    tracked.finish(process, name)
    assert gate.num_refused > 0
    assert f"hpo sync study={name}" in tracked.output(name)
    gate.mood = "open"
    tracked.finish(tracked.command("sync", f"study={name}"), name)

    tracked.arena.note_strike(name, mood)
    tracked.arena.score(name, Fault("from the middle", mood), "MLflow")
    assert_same(content(gate.uri, name), reference(tracked))


def test_a_tracker_that_is_away_for_a_whole_search_then_holds_what_it_would_have_held(
    tracked: Tree, gate: Gate
) -> None:
    up = reference(tracked)
    name = "tracker-never"
    gate.mood = "closed"
    tracked.run(name, *SETTINGS)
    assert gate.num_refused > 0
    gate.mood = "open"
    assert MlflowClient(gate.uri).get_experiment_by_name(experiment_name(name)) is None
    tracked.finish(tracked.command("sync", f"study={name}"), name)

    tracked.arena.note_strike(name, "closed")
    tracked.arena.score(name, Fault("from the start", "closed"), "MLflow")
    assert tracked.arena.history(name) == tracked.arena.history(REFERENCE)
    assert_same(content(gate.uri, name), up)
    away, there = (median_seconds(tracked, each) for each in (name, REFERENCE))
    tracked.arena.notes.append(
        f"an epoch took {away:.3f} s with MLflow away, {there:.3f} s with it: ratio {away / there:.2f} (medians)"
    )


REFERENCE = "tracker-there"
_read: dict[str, Mapping[str, Any]] = {}
"""Of the reference, by database: thousands of requests, so once."""


def reference(tracked: Tree) -> Mapping[str, Any]:
    """What MLflow holds of a campaign during which it was there."""
    if tracked.arena.url not in _read:
        tracked.run(REFERENCE, *SETTINGS)
        assert "View run" not in tracked.output(REFERENCE), "MLflow talks amid the search's own lines"
        _read[tracked.arena.url] = content(tracked.environment["MLFLOW_TRACKING_URI"], REFERENCE)
    return _read[tracked.arena.url]


def content(uri: str, campaign: str) -> Mapping[str, Any]:
    """All that MLflow holds of a campaign, by run name, the campaign's own name and the clocks' readings apart."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(experiment_name(campaign))
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: str(run.info.run_name) for run in found}

    def neutral(text: str) -> str:
        for run_id, name in names.items():
            text = text.replace(run_id, name)
        return text.replace(campaign, "CAMPAIGN")

    held: dict[str, Any] = {}
    for run in found:
        data = run.data
        histories = {key: client.get_metric_history(run.info.run_id, key) for key in data.metrics}
        held[neutral(names[run.info.run_id])] = {
            "status": run.info.status,
            "params": {key: neutral(value) for key, value in data.params.items()},
            "tags": {key: neutral(value) for key, value in data.tags.items() if not key.startswith(CLOCKS)},
            "metrics": {
                key: None if key.startswith(CLOCKS) else [(point.step, point.value) for point in history]
                for key, history in histories.items()
            },
            "artifacts": {neutral(path) for path in artifacts(client, run.info.run_id)},
        }
    assert len(held) == len(found), "two runs of one name"
    versions = client.search_model_versions(f"name = 'tiertune-{campaign}'")
    held["model"] = [
        (version.version, neutral(str(sorted(version.tags.items()))), neutral(names[version.run_id]))
        for version in versions
    ]
    held["logged models"] = [
        (str(model.status), neutral(str(sorted(model.tags.items()))), neutral(names[model.source_run_id]))
        for model in client.search_logged_models([experiment.experiment_id])
    ]
    held["aliases"] = client.get_registered_model(f"tiertune-{campaign}").aliases
    return held


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from artifacts(client, run_id, item.path)
        else:
            yield item.path


def assert_same(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    assert held.keys() == wanted.keys()
    for name, run in wanted.items():
        assert _comparable(held[name]) == _comparable(run), name


OWN = re.compile(
    r"[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.+]+|(?<=/studies/)\d+|(?<=/experiments/)\d+|(?<=//127\.0\.0\.1:)\d+"
)
"""What is each campaign's own within a text: digests, times, the numbers and the port in links."""


def _comparable(value: Any) -> str:
    """As text, in which the order of names, which is the server's whim, makes no difference."""
    return OWN.sub("*", json.dumps(value, sort_keys=True, default=sorted))


def median_seconds(tree: Tree, campaign: str) -> float:
    """Of an epoch's training, over all trials."""
    found = [attempt for slot in runs(tree.home / "runs" / campaign) if (attempt := slot.current())]
    return statistics.median(record.seconds for attempt in found for record in attempt.epochs())
