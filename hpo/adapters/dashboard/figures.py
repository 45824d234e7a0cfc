"""A report's key figures as optuna-dashboard draws them: Plotly figures as plain JSON, made without Plotly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

MOST_POINTS = 250
"""Points of one line; a figure lies in the database in pieces of 2 kB."""


@dataclass(frozen=True)
class Figure:
    """What `save_plotly_graph_object` asks of a figure. key: of the report's chart."""

    key: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]

    def to_json(self) -> str:
        """The figure as Plotly's own `to_json` has it."""
        layout = {"margin": {"t": 50, "r": 20}, "legend": {"orientation": "h", "y": -0.2}, **self.layout}
        return json.dumps({"data": self.traces, "layout": layout}, separators=(",", ":"))


def key_figures(report: Mapping[str, Any]) -> Iterator[Figure]:
    """The figures of a written report (`report.json`), as far as it has them."""
    for section in report["sections"].values():
        for key, chart in section["charts"].items():
            if "plot" in chart:
                yield DRAWN[chart["plot"]["kind"]](key, chart)


def _intervals(key: str, chart: Mapping[str, Any]) -> Figure:
    rows = dict(reversed(chart["data"].items()))
    estimates = [row["estimate"] for row in rows.values()]
    spread = {
        "type": "data",
        "symmetric": False,
        "array": [row["high"] - row["estimate"] for row in rows.values()],
        "arrayminus": [row["estimate"] - row["low"] for row in rows.values()],
    }
    trace = {"type": "scatter", "mode": "markers", "x": estimates, "y": list(rows), "error_x": spread}
    return Figure(key, [trace], _layout(chart, yaxis={"automargin": True}))


def _leaders(key: str, chart: Mapping[str, Any]) -> Figure:
    leaders = chart["data"]["leaders"]
    places = list(range(1, len(leaders) + 1))
    lines = {name: [leader[name] for leader in leaders] for name in ("validation", "holdout")}
    traces = [_line(name, places, values) for name, values in lines.items()]
    return Figure(key, traces, _layout(chart, xaxis={"title": {"text": "place by validation score"}}))


def _lines(key: str, chart: Mapping[str, Any]) -> Figure:
    """A line over dates for each series."""
    names, data = chart["plot"]["names"], dict(chart["data"])
    dates = data.pop("date")
    every = max(1, -(-len(dates) // MOST_POINTS))
    traces = [_line(names.get(series, series), dates[::every], values[::every]) for series, values in data.items()]
    return Figure(key, traces, _layout(chart))


def _sums(key: str, chart: Mapping[str, Any]) -> Figure:
    """Daily returns of one side's value, summed, in percent."""
    summed = {
        series: values if series == "date" else [100 * total for total in accumulate(values)]
        for series, values in chart["data"].items()
    }
    return _lines(key, {**chart, "data": summed})


def _bars(key: str, chart: Mapping[str, Any]) -> Figure:
    trace = {"type": "bar", "x": list(chart["data"]), "y": list(chart["data"].values())}
    axis = {"type": "category", "title": {"text": chart["plot"]["across"]}}
    return Figure(key, [trace], _layout(chart, xaxis=axis))


def _line(name: str, x: Sequence[Any], y: Sequence[Any]) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y}


def _layout(chart: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"title": {"text": chart["title"], "x": 0.02, "xanchor": "left", "font": {"size": 14}}, **more}


DRAWN: Mapping[str, Callable[[str, Mapping[str, Any]], Figure]] = {
    "intervals": _intervals,
    "leaders": _leaders,
    "lines": _lines,
    "sums": _sums,
    "bars": _bars,
}
"""Kind of `hpo.report.document.Plot` -> its Plotly form."""
