"""Pictures that both user interfaces show of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.charts.plots import WIDTH, Axis, Curves, line_chart
from hpo.runs.entries import EpochRecord

LOOKS = ("accent", "third", "second")
"""Of the metrics drawn beside the objective, in turn."""

STYLE = """
svg { font: 11px "DejaVu Sans", Helvetica, sans-serif; background: #fff }
text { fill: #1c1e21 } path { fill: none } .grid { stroke: #e6e6e1 } .axis, .zero { stroke: #9aa0a6 }
.line { stroke-width: 1.4 } .thick { stroke-width: 2.6 } .dashed { stroke-dasharray: 5 3 }
.ink { stroke: #1c1e21 } .accent { stroke: #0b5cad } .second { stroke: #b4540a } .third { stroke: #0a7d62 }
"""


def learning_curve(records: Sequence[EpochRecord], run: Mapping[str, Any]) -> bytes:
    """An SVG: the objective and the metrics beside it by epoch, and below them the training loss. run: the attempt's
    run.json, which names them."""
    objective = run.get("objective", "score")
    upper = [Curves(objective, "ink thick", [[(float(record.epoch), record.score) for record in records]])]
    upper += [
        _curve(records, name, label, LOOKS[n % len(LOOKS)])
        for n, (name, label) in enumerate(run.get("curves", {}).items())
    ]
    parts = [_part("Score", objective, [curve for curve in upper if curve.lines[0]])]
    loss = _curve(records, "train/loss", "training loss", "ink")
    parts += [_part("Training loss", "training loss", [loss])] if loss.lines[0] else []
    height = sum(part_height for _, part_height in parts)
    drawn, y = [], 0.0
    for svg, part_height in parts:
        drawn.append(f'<svg y="{y:g}" width="{WIDTH:g}" height="{part_height:g}">{svg}</svg>')
        y += part_height
    frame = f'xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH:g}" height="{2 * height:g}"'
    return f'<svg {frame} viewBox="0 0 {WIDTH:g} {height:g}"><style>{STYLE}</style>{"".join(drawn)}</svg>'.encode()


def _curve(records: Sequence[EpochRecord], metric: str, label: str, css: str) -> Curves:
    points = [(float(record.epoch), record.metrics[metric]) for record in records if metric in record.metrics]
    return Curves(label, css, [points])


def _part(title: str, label: str, curves: Sequence[Curves]) -> tuple[str, float]:
    """A chart and its height with the key below it."""
    svg = line_chart(title, f"{title} by epoch", Axis("epoch"), Axis(label), curves)
    return svg, float(svg.partition('viewBox="')[2].partition('"')[0].split()[3])
