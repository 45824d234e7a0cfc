"""The container files name what is there, and commands that are understood."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo.cli.parser import parse

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "tiertune"]


def test_all_that_the_image_copies_is_there() -> None:
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    assert {"pyproject.toml", "constraints.txt", "hpo", "trainer"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(copied)


@pytest.mark.parametrize("service", [name for name in OURS if "command" in SERVICES[name]])
def test_the_services_run_commands_that_there_are(service: str) -> None:
    assert parse(SERVICES[service]["command"]).command == "dashboard"


def test_every_service_of_ours_waits_for_its_database_and_keeps_its_state() -> None:
    assert set(OURS) == {"search", "dashboard", "mlflow"}
    for name in OURS:
        assert SERVICES[name]["depends_on"]["database"]["condition"] == "service_healthy"
        assert "state:/state" in SERVICES[name]["volumes"]
    assert "HPO_HOME=/state" in DOCKERFILE


def test_the_password_stands_nowhere_and_ports_are_loopbacks() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"POSTGRES_PASSWORD: (\S+)", text) == ["${POSTGRES_PASSWORD:?set"]
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
