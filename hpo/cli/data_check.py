"""`hpo data check`: what is recognised in a source, before anything is trained on it."""

from __future__ import annotations

import argparse
import json

from hpo.cli.selection import composed
from hpo.wiring import home_folder


def data(options: argparse.Namespace) -> None:
    """Say what is recognised in a source, as a run with these settings would take it."""
    from hpo.cli.terminal import Terminal
    from hpo.usecases.campaigns import trainable_of

    options.overrides = [f"trainer.{word}" if word.startswith("data.") else word for word in options.overrides]
    config, _ = composed(options)
    trainable, settings = trainable_of(config)
    display = Terminal()
    with display.preparing() as progress:
        prepared = trainable.prepare(settings, home_folder() / "cache", progress)
    if options.format == "json":
        print(json.dumps({**prepared.summary, "warnings": list(prepared.warnings)}, indent=2, default=str))
        return
    for line in (*prepared.lines, *(f"Warning: {warning}" for warning in prepared.warnings)):
        display.say(line)
