"""The page as a reader uses it, in a real browser: pointing at charts, sorting tables, following links to trials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Browser, Page, chromium

from hpo.report import CampaignEvidence, write_report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no chromium or google-chrome is on the PATH"),
]

TOOLTIP = "document.querySelector('#vg-tooltip-element.visible')?.innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = chromium()
    assert binary is not None
    with Browser(binary, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(made_up: CampaignEvidence, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(made_up, tmp_path_factory.mktemp("report")).html.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Page:
    page = browser.page()
    page.look(1280)
    page.open(address)
    page.wait_for("document.documentElement.dataset.charts === 'drawn'")
    return page


def test_a_page_that_is_loaded_can_be_printed(browser: Browser, address: str) -> None:
    page = browser.page()
    page.open(address)
    assert page.evaluate("document.documentElement.dataset.charts") == "drawn"


def test_the_pointer_reads_every_line_of_a_chart_at_a_day(page: Page) -> None:
    page.evaluate("document.querySelector('#champion .chart').id = 'cumulative'")
    page.point("#cumulative svg", 0.5, 0.3)
    told = page.wait_for(TOOLTIP).split()
    assert told[:1] == ["date"]
    assert told[1].startswith("2023-")
    assert {"1", "5", "day", "days"} <= set(told)
    page.point("h1")
    page.wait_for(f"{TOOLTIP} === undefined")
    assert page.problems == []


def test_a_point_tells_its_trial_and_leads_to_its_row(page: Page) -> None:
    page.evaluate(
        """(() => {
          const chart = [...document.querySelectorAll('figure')].find(e => e.innerText.startsWith('History'));
          const dots = [...chart.querySelectorAll('path[aria-label]')];
          dots.find(e => e.ariaLabel.includes('trial: 20;')).id = 'dot';
        })()"""
    )
    page.point("#dot")
    assert "trial\t20" in page.wait_for(TOOLTIP).replace(" ", "\t")
    page.press("#dot")
    page.wait_for("location.hash === '#trial-20'")
    assert page.wait_for("document.querySelector('details').open")
    assert page.problems == []


def test_a_link_in_a_table_unfolds_the_trial(page: Page) -> None:
    assert page.evaluate("document.querySelector('details').open") is False
    page.click("#luck a[href^='#trial-']")
    page.wait_for("document.querySelector('details').open")
    top = page.wait_for("document.querySelector(location.hash).getBoundingClientRect().top")
    assert 0 < top < 900


def trials(page: Page) -> list[str]:
    """The trials in the table of the best, from the top."""
    found: list[str] = page.evaluate(
        "[...document.getElementById('best').tBodies[0].rows].map(r => r.cells[1].innerText)"
    )
    return found


def test_a_click_on_a_column_sorts_the_rows_and_another_turns_them_round(page: Page) -> None:
    page.evaluate(
        "[...document.querySelectorAll('#search table')].find(t => t.rows[0].cells[0].innerText.startsWith('place'))"
        ".id = 'best'"
    )
    before = trials(page)
    page.click("#best th:nth-child(4) button")
    assert trials(page) == before, "already from the best down"
    assert page.evaluate("document.querySelector('#best th:nth-child(4)').ariaSort") == "descending"
    page.click("#best th:nth-child(4) button")
    assert trials(page) == before[::-1]
    page.click("#best th:nth-child(2) button")
    assert trials(page) == sorted(before, key=int)
    assert page.evaluate("document.querySelectorAll('#best th[aria-sort]').length") == 1


def test_colours_follow_the_reader(page: Page) -> None:
    line = "getComputedStyle(document.querySelector('#champion .mark-line path')).stroke"
    light = page.evaluate(line)
    page.look(1280, dark=True)
    assert page.evaluate(line) != light


def test_without_scripts_the_page_says_where_the_numbers_are(browser: Browser, address: str) -> None:
    page = browser.page()
    page.call("Emulation.setScriptExecutionDisabled", {"value": True})
    page.open(address)
    page.call("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Their numbers are in report.json" in page.text()


def test_a_script_that_was_slipped_in_does_not_run(browser: Browser, address: str, tmp_path: Path) -> None:
    text = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
    (tmp_path / "report.html").write_text(text.replace("<main>", "<main><script>window.mine = 1</script>"))
    page = browser.page()
    page.open((tmp_path / "report.html").as_uri())
    page.wait_for("document.documentElement.dataset.charts === 'drawn'")
    assert page.evaluate("window.mine === undefined")
    assert any("Content Security Policy" in problem for problem in page.problems), json.dumps(page.problems)
