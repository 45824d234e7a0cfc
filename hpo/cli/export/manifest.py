"""`hpo manifest`: a campaign's workers, or its run, as a Job of Kubernetes for `kubectl apply -f -`."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from hpo.domain.errors import UsageError
from hpo.engine.supervisor import INPUT, INTERRUPTED, MAX_FRUITLESS_DEATHS

HOME = "/hpo"
"""Where the state folder is mounted."""

NOTICE_SECONDS = 120
"""A pod is asked to end so long before it is killed: an epoch should fit into it."""

MAX_NAME = 52
"""Of a Job: `-run` and the index of a pod may follow it in the pod's host name, which has at most 63 letters."""

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
QUANTITY = re.compile(r"[1-9][0-9]*([KMGT]i?)?")
IMAGE = re.compile(r"[A-Za-z0-9][\w./:@-]*", re.ASCII)


def manifest(options: argparse.Namespace) -> None:
    """Print a Job of the campaign; no database is asked, and no file of the campaign's read."""
    from hpo.cli.selection import resumed

    study, settings = resumed(options.overrides), [word for word in options.overrides if not word.startswith("study=")]
    _check(study, settings, options)
    word, ours = ("run", settings) if options.run else ("worker", ["worker.num_workers=1", *settings])
    made = job(
        job_name(study) + ("-run" if options.run else ""),
        study,
        ["hpo", word, f"study={study}", *ours],
        image=options.image,
        pods=options.workers,
        cpus=options.cpus,
        memory=options.memory,
        gpus=options.gpus,
        secret=options.secret,
        claim=options.claim,
    )
    print(yaml.safe_dump(made, sort_keys=False), end="")


def _check(study: str, settings: Sequence[str], options: argparse.Namespace) -> None:
    """Refuse what a worker would refuse. Settings of a run may name files of the volume: they are read there."""
    from hpo.cli import config_loader

    if options.run:
        if options.workers > 1:
            raise UsageError("--run makes one pod, whose workers are worker.num_workers; leave out --workers.")
        config_loader.load([f"study={study}"])
        return
    for word in settings:
        if not word.startswith("worker."):
            raise UsageError(f"'{word}': workers take a campaign as it was created; only worker. may be given.")
        if word.startswith("worker.num_workers="):
            raise UsageError(f"'{word}': each pod is one worker; --workers says how many there are.")
    config_loader.load([f"study={study}", *settings])


def job(
    name: str,
    study: str,
    command: Sequence[str],
    *,
    image: str,
    pods: int,
    cpus: int,
    memory: str,
    gpus: int,
    secret: str,
    claim: str,
) -> Mapping[str, Any]:
    """The Job as plain data: pods of one container, each under an index of its own.

    A pod that is drained, or taken from its node, is made anew and counts for nothing; one that is refused ends the
    Job; others may fail as often as under the supervisor. memory: a quantity such as `16Gi`. secret: its keys become
    variables of the worker, `HPO_DATABASE_URL` among them. claim: of the volume that holds the state folder.
    """
    limits: dict[str, Any] = {"cpu": str(cpus), "memory": memory}
    if gpus:
        limits["nvidia.com/gpu"] = str(gpus)
    container = {
        "name": "worker",
        "image": image,
        "command": list(command),
        "env": [
            {"name": "HPO_HOME", "value": HOME},
            {"name": "OMP_NUM_THREADS", "value": str(cpus)},
            {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},
        ],
        "envFrom": [{"secretRef": {"name": secret}}],
        "resources": {"requests": dict(limits), "limits": limits},
        "volumeMounts": [{"name": "home", "mountPath": HOME}],
    }
    labels = {"app.kubernetes.io/name": "tiertune", "tiertune/study": study.rstrip("._-")[:63].rstrip("._-")}
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": NOTICE_SECONDS,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": claim}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "completions": pods,
            "parallelism": pods,
            "backoffLimit": MAX_FRUITLESS_DEATHS * pods,
            "podFailurePolicy": {"rules": _rules()},
            "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
        },
    }


def job_name(study: str) -> str:
    """A name that Kubernetes takes; where letters had to go, a few that tell it from others stand at the end."""
    plain = re.sub(r"[^a-z0-9-]+", "-", study.lower()).strip("-")
    if plain == study and len(plain) <= MAX_NAME - len("hpo-"):
        return f"hpo-{study}"
    digest = hashlib.sha256(study.encode()).hexdigest()[:6]
    return f"hpo-{plain[: MAX_NAME - len('hpo--') - len(digest)].strip('-')}-{digest}"


def _rules() -> Sequence[Mapping[str, Any]]:
    """What a pod's end means, the first that fits: taken from its node, drained, refused."""

    def code(number: int) -> Mapping[str, Any]:
        return {"containerName": "worker", "operator": "In", "values": [number]}

    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": code(INTERRUPTED)},
        {"action": "FailJob", "onExitCodes": code(INPUT)},
    ]


def add_parser(add: Any, settings: Any, count: Any) -> None:
    """The command's options. add: `hpo.cli.parser.Adder`; settings: adds a campaign's; count: reads a number from 1."""
    parser = add(
        "manifest",
        "print a Job of Kubernetes for a campaign's workers",
        "hpo manifest night --image registry.example.org/tiertune:1 --workers 8 --gpus 1 | kubectl apply -f -",
    )
    settings(parser)
    parser.add_argument(
        "--run",
        action="store_true",
        help="the Job of `hpo run` itself, with its settings: it opens the campaign, works on it and writes the report",
    )
    parser.add_argument("--image", required=True, type=_word("an image", IMAGE), help="with this package installed")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="pods, default: 1")
    parser.add_argument("--cpus", type=count, default=1, metavar="N", help="CPUs of each, default: 1")
    parser.add_argument(
        "--memory", type=_word("a quantity such as 16Gi", QUANTITY), default="8Gi", help="of each, default: 8Gi"
    )
    parser.add_argument("--gpus", type=int, choices=(0, 1), default=0, help="GPUs of each, default: 0")
    parser.add_argument(
        "--secret",
        type=_word("a name", NAME),
        default="tiertune",
        metavar="NAME",
        help="a Secret whose keys become variables, HPO_DATABASE_URL among them; default: tiertune",
    )
    parser.add_argument(
        "--claim",
        type=_word("a name", NAME),
        default="tiertune",
        metavar="NAME",
        help="a PersistentVolumeClaim with the state folder, mounted by all pods; default: tiertune",
    )


def _word(what: str, form: re.Pattern[str]) -> Any:
    """Reads a word that Kubernetes would take."""

    def read(text: str) -> str:
        if not form.fullmatch(text):
            raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
        return text

    return read
