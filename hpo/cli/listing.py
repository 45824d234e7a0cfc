"""`hpo list`, `hpo trials` and `hpo spaces`: rows as a table for people, or in a format for programs."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.domain.errors import UsageError

NOTHING = "-"
"""What a table shows where there is no value."""


def campaigns(options: argparse.Namespace) -> None:
    """All campaigns on this database, newest first."""
    from hpo.usecases.inspection.listing import campaign_rows
    from hpo.wiring import open_app

    with open_app() as app:
        rows = campaign_rows(app.records)
    if not rows and options.format == "table":
        print("There is no campaign yet; start one with `hpo run trials=20`.")
        return
    _write(rows, options.format)


def trials(options: argparse.Namespace) -> None:
    """All trials of a campaign with what they were given and came to."""
    from hpo.cli.selection import study_of
    from hpo.usecases.inspection.listing import trial_rows
    from hpo.wiring import open_app

    if options.format == "parquet" and options.output is None:
        raise UsageError("--format parquet needs a file: add --output FILE.")
    with open_app() as app:
        rows = trial_rows(app.records, app.records.find(study_of(options.overrides)))
    _write(rows, options.format, None if options.output is None else Path(options.output))


def spaces(options: argparse.Namespace) -> None:
    """The catalog's spaces, or one space's dimensions with their ranges."""
    from search_spaces import catalog, load_space

    names = catalog() if options.name is None else ()
    rows: list[dict[str, Any]] = [_space(load_space(name)) for name in names]
    if options.name is not None:
        space = load_space(options.name)
        rows = [
            {
                "tier": tier.name,
                "setting": dimension.name,
                "default": dimension.default,
                "values": shown_values(dimension),
                "exists where": dimension.shown_when or None,
            }
            for tier in space.tiers
            for dimension in tier.dimensions
        ]
        rows += [
            {"tier": "(held)", "setting": name, "default": value, "values": str(value), "exists where": None}
            for name, value in space.settings.items()
        ]
    _write(rows, options.format)


def _space(space: Any) -> dict[str, Any]:
    return {
        "name": space.name,
        "dimensions": len(space.dimensions),
        "tiers": ", ".join(f"{tier.name} {len(tier.dimensions)}" for tier in space.tiers),
        "settings": ", ".join(f"{name}={value}" for name, value in space.settings.items()),
    }


def shown_values(dimension: Any) -> str:
    """`0.0001 to 0.01, log` or `8, 16, 32`."""
    if hasattr(dimension, "choices"):
        return ", ".join(map(str, dimension.choices))
    step = f", step {dimension.step}" if dimension.step not in (None, 1) else ""
    return f"{dimension.low:g} to {dimension.high:g}{', log' if dimension.log else ''}{step}"


def _write(rows: Sequence[Mapping[str, Any]], kind: str, output: Path | None = None) -> None:
    """The rows to standard output, or to a file that is whole or not there."""
    if output is None:
        _print(rows, kind)
        return
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.absolute().parent}; make it first.")
    draft = output.with_name(f".{output.name}.part")
    try:
        if kind == "parquet":
            import pandas as pd

            frame = pd.DataFrame(rows)
            mixed = [str(name) for name in frame if pd.api.types.infer_dtype(frame[name]).startswith("mixed")]
            frame[mixed] = frame[mixed].map(lambda value: None if value is None else str(value))
            frame.to_parquet(draft, index=False)
        else:
            with draft.open("w", encoding="utf-8", newline="") as file:
                _print(rows, kind, file)
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


def _print(rows: Sequence[Mapping[str, Any]], kind: str, file: Any = None) -> None:
    file = file or sys.stdout
    if kind == "json":
        print(json.dumps(list(rows), indent=1), file=file)
    elif kind == "csv":
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    else:
        print("\n".join(_table(rows)), file=file)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns of equal width; those in which nothing stands are left out."""
    names = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
    cells = [[name.removeprefix("params.") for name in names]] + [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def add_parsers(add: Any) -> None:
    """The commands' options. add: `hpo.cli.parser.Adder`."""
    listed = add("list", "list all campaigns: state, budget, best score, data", "hpo list --format json")
    trials_of = add(
        "trials", "list a campaign's trials with their settings and scores", "hpo trials night --format csv"
    )
    trials_of.add_argument("overrides", nargs="*", metavar="NAME", help="the campaign, default: the standard one")
    trials_of.add_argument("--study", metavar="NAME", help="the same")
    trials_of.add_argument("--output", metavar="FILE", help="where to write (default: here)")
    shown = add("spaces", "list the catalog of search spaces, or one space's ranges", "hpo spaces quickstart")
    shown.add_argument("name", nargs="?", metavar="NAME|FILE", help="a space of the catalog, or your own YAML file")
    for parser, kinds in (
        (listed, ("table", "csv", "json")),
        (trials_of, ("table", "csv", "json", "parquet")),
        (shown, ("table", "csv", "json")),
    ):
        parser.add_argument("--format", choices=kinds, default="table", help="default: table")
