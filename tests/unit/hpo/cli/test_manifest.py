"""Jobs of Kubernetes, against the schema of its API."""

from __future__ import annotations

import copy
import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from hpo.cli import EXIT_INPUT, main
from hpo.cli.export.manifest import MAX_NAME, job_name

VERSIONS = ("1.31.0", "1.37.0")
"""The first in which a policy for failed pods is stable, and the newest that the package knows."""
IMAGE = "registry.example.org/tiertune@sha256:0f"


def made(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The Job that the command prints."""
    assert main(["manifest", "--image", IMAGE, *words]) == 0, capsys.readouterr().err
    return yaml.safe_load(capsys.readouterr().out)


def container(job: Any) -> Any:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("words", [("night",), ("Night_2", "--gpus", "1", "--workers", "8"), ("night", "--run")])
def test_the_api_takes_it(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], version: str) -> None:
    job = made(capsys, *words)
    kubernetes_validate.validate(job, version, strict=True)
    broken = copy.deepcopy(job)
    container(broken)["imagePolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagePolicy"):
        kubernetes_validate.validate(broken, version, strict=True)


def test_a_pod_per_worker_with_what_it_may_take(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--workers", "8", "--cpus", "4", "--memory", "16Gi", "--gpus", "1")
    job = made(capsys, "night", *sizes, "worker.lease=PT2M")
    spec, worker = job["spec"], container(job)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 8)
    assert worker["command"] == ["hpo", "worker", "study=night", "worker.num_workers=1", "worker.lease=PT2M"]
    limits = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert worker["resources"] == {"requests": limits, "limits": limits}
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in worker["env"]


def test_the_database_comes_from_a_secret_and_the_state_from_a_claim(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_DATABASE_URL", "postgresql://me:hunter2@host/db")
    job = made(capsys, "night", "--secret", "night-db", "--claim", "night-state")
    assert container(job)["envFrom"] == [{"secretRef": {"name": "night-db"}}]
    assert "hunter2" not in yaml.safe_dump(job)
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"] == {"claimName": "night-state"}
    (mount,) = container(job)["volumeMounts"]
    assert {"name": "HPO_HOME", "value": mount["mountPath"]} in container(job)["env"]


def test_drained_and_evicted_pods_count_for_nothing_and_a_refusal_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    job = made(capsys, "night", "--workers", "2")
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "Ignore", "FailJob"]
    assert [rule["onExitCodes"]["values"] for rule in rules[1:]] == [[130], [2]]
    assert job["spec"]["backoffLimit"] == 6
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never", "the policy asks for it"


def test_the_run_itself_is_one_pod_with_the_settings_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    job = made(capsys, "night", "--run", "trials=200", "space=/hpo/my.yaml")
    assert job["metadata"]["name"] == "hpo-night-run"
    assert job["spec"]["completions"] == 1
    assert container(job)["command"] == ["hpo", "run", "study=night", "trials=200", "space=/hpo/my.yaml"]


@pytest.mark.parametrize("study", ["night", "Night", "a_b", "a.b", "n" * 64, "x-", "9"])
def test_names_are_labels_of_dns_and_differ(study: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job_name(study))
    assert len(job_name(study)) <= MAX_NAME
    assert study == "night" or job_name(study) != job_name(study.lower().replace("_", "-").replace(".", "-") + "q")
    assert job_name("Night") != job_name("night")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("night", "trials=3"), "only worker. may be given"),
        (("night", "worker.num_workers=3"), "--workers says how many"),
        (("night", "worker.leese=PT2M"), "Unknown setting 'worker.leese'"),
        (("night", "--run", "--workers", "2"), "--run makes one pod"),
        (("a name",), "study name 'a name'"),
    ],
)
def test_what_a_worker_would_refuse_is_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["manifest", "--image", IMAGE, *words]) == EXIT_INPUT
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("--memory", "16 GB"), ("--secret", "My_Secret"), ("--image", "-x"), ("--gpus", "2")]
)
def test_words_that_kubernetes_would_refuse(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["manifest", "night", "--image", IMAGE, *words])
    assert end.value.code == EXIT_INPUT
    assert "Traceback" not in capsys.readouterr().err
