"""The notebook of the documentation, executed; the README's example is cut from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from support.command import clean_environment

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def code() -> list[str]:
    cells: list[Any] = nbformat.read(NOTEBOOK, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def test_the_readme_s_example_is_the_notebook() -> None:
    readme = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"^## From Python$.*?^```python\n(.*?)^```", readme, flags=re.M | re.S)
    lines = [line.partition("  #")[0].strip() for line in example.splitlines()]
    typed = [line for line in "\n".join(code()[1:]).splitlines() if line]
    assert [line for line in lines if line] == typed[: len([line for line in lines if line])]


def test_the_notebook_runs(session_database_url: str, tmp_path: Path) -> None:
    environment = clean_environment(tmp_path / "home", HPO_DATABASE_URL=session_database_url)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    _, run, trials, report, scores, comparison = cells
    lines = [output["data"]["text/plain"] for output in run.outputs if output.output_type == "display_data"]
    assert lines[0] == "The panel is prepared."
    assert lines[1].startswith("notebook: 20/20 done, ")
    said = "".join(output.text for output in run.outputs if output.output_type == "stream")
    assert "Recommendation: deploy nothing: nothing found." in said
    assert "Warning" not in said
    for cell, shown in ((trials, "run_folder"), (scores, "score_20d"), (comparison, "difference")):
        assert shown in cell.outputs[-1]["data"]["text/html"]
    assert cell_html(report).startswith("<iframe srcdoc=")


def cell_html(cell: Any) -> str:
    return str(cell.outputs[-1]["data"]["text/html"])
