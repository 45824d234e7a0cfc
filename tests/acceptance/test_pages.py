"""The report and both user interfaces as a person sees them: a real campaign, a real browser, every picture drawn."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from support.browser import Browser, Page, chromium
from support.command import TINY_SPACE, hpo, start_hpo

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no chromium or google-chrome is on the PATH"),
]

DATA = "planted:clean?stocks=40&days=420"
SIZES = {"phone": (390, "screen"), "tablet": (768, "screen"), "desk": (1280, "screen"), "paper": (688, "print")}
"""Name -> width in pixels and medium; A4 less its margins is 688 pixels wide."""

NOT_OURS = ("mlflow/users/current", "ResizeObserver loop completed")
"""Parts of complaints that the interfaces have about themselves."""

FAULTS = """(() => {
  const found = [], name = e => `${e.tagName} ${e.getAttribute('class') || ''} "${e.textContent.trim().slice(0, 60)}"`;
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} wide`);
  for (const e of document.querySelectorAll('svg, img')) {
    const box = e.getBoundingClientRect();
    if (box.width < 20 || box.height < 20) found.push(`not drawn: ${name(e)}`);
    if (e.tagName === 'IMG' && !e.naturalWidth) found.push(`not loaded: ${e.src}`);
  }
  for (const e of document.querySelectorAll('body *')) {
    const hides = ['hidden', 'clip'].includes(getComputedStyle(e).overflowX) && !e.closest('svg');
    if (hides && e.scrollWidth > e.clientWidth + 1) found.push(`cut off: ${name(e)}`);
  }
  for (const e of document.querySelectorAll('svg text')) {
    const box = e.getBoundingClientRect(), frame = e.ownerSVGElement.getBoundingClientRect();
    const isInside = box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1
      && box.bottom <= frame.bottom + 1;
    if (!isInside) found.push(`outside its picture: ${name(e)}`);
  }
  for (const row of document.querySelectorAll('.charts'))
    if (row.lastElementChild.getBoundingClientRect().right < row.getBoundingClientRect().right - 2)
      found.push(`blank beside ${name(row.lastElementChild)}`);
  if (matchMedia('print').matches)
    for (const e of document.querySelectorAll('table, svg'))
      if (e.getBoundingClientRect().right > innerWidth + 1) found.push(`off the paper: ${name(e)}`);
  return found;
})()"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with one finished campaign, `seen`."""
    folder = tmp_path_factory.mktemp("pages")
    space = folder / "tiny.yaml"
    space.write_text(TINY_SPACE, encoding="utf-8")
    settings = ("trainer.data.horizons=[1,5]", "tiers.refinement_fraction=0.3")
    run = hpo(folder / "home", "run", "study=seen", "trials=8", "--space", str(space), "--data", DATA, *settings)
    assert run.returncode == 0, run.stderr
    yield folder / "home"
    hpo(folder / "home", "db", "stop")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = chromium()
    assert binary is not None
    with Browser(binary, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the photographs are left to be looked at."""
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def optuna(home: Path) -> Iterator[str]:
    with serving(home, "optuna") as address:
        yield address


@pytest.fixture(scope="module")
def mlflow(home: Path) -> Iterator[str]:
    with serving(home, "mlflow") as address:
        yield address


@contextmanager
def serving(home: Path, which: str) -> Iterator[str]:
    """`hpo dashboard` on a free port, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    log = home.parent / f"{which}.log"
    server = start_hpo(home, "dashboard", which, "--port", str(port), log=log)
    try:
        deadline = time.monotonic() + 120
        while not is_up(f"http://127.0.0.1:{port}"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()  # a shell's background job would ignore an interrupt
        server.wait(60)


def is_up(address: str) -> bool:
    try:
        with urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_report_is_whole_at_every_size(home: Path, browser: Browser, pictures: Path, size: str, dark: bool) -> None:
    width, medium = SIZES[size]
    page = browser.page()
    page.look(width, dark=dark, media=medium)
    page.open((home / "reports" / "seen" / "report.html").as_uri())
    page.wait_for("document.documentElement.dataset.charts === 'drawn'")
    page.photograph(pictures / f"report-{size}-{'dark' if dark else 'light'}.png")
    assert page.problems == []
    assert page.evaluate("document.querySelectorAll('svg').length") > 15
    assert page.evaluate(FAULTS) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = sum(int(part) for part in re.findall(r"\d+", paper)[:3]) < 150
    assert is_dark == (dark and medium == "screen")


def test_the_first_screen_says_who_how_good_and_whether_to_believe_it(home: Path, browser: Browser) -> None:
    page = browser.page()
    page.look(1280, 800)
    page.open((home / "reports" / "seen" / "report.html").as_uri())
    seen = page.evaluate(
        "[...document.querySelectorAll('h1, dt, dd')].filter(e => e.getBoundingClientRect().bottom < innerHeight)"
        ".map(e => e.innerText).join('\\n')"
    )
    for expected in ("champion", "trial ", "validation RankIC", "holdout RankIC", "95 % interval", "more than luck"):
        assert expected in seen


def test_the_reports_sections_can_be_reached(home: Path, browser: Browser) -> None:
    page = browser.page()
    page.look(1280, 800)
    page.open((home / "reports" / "seen" / "report.html").as_uri())
    sections = page.evaluate("[...document.querySelectorAll('nav a')].map(e => e.getAttribute('href').slice(1))")
    assert sections == ["answer", "deployed", "luck", "search", "champion", "reproduce"]
    for section in sections:
        page.click(f"nav a[href='#{section}']")
        top = page.evaluate(f"document.getElementById('{section}').getBoundingClientRect().top")
        assert -5 <= top < 800
    assert page.problems == []


def test_optuna_dashboard_shows_the_campaign(optuna: str, browser: Browser, pictures: Path) -> None:
    page = browser.page()
    page.look(1280)
    page.open(f"{optuna}/dashboard")
    page.wait_for_text("seen/1-capacity")
    page.photograph(pictures / "optuna-studies.png")
    whole = study_ids(page)["seen"]
    page.click(f"a[href='/dashboard/studies/{whole}']")
    for expected in ("Best Trial", "report.long_short.svg", "report.html", "RankIC"):
        page.wait_for_text(expected)
    shown = "[...document.querySelectorAll('img[src*=\"/artifacts/\"]')].filter(e => e.naturalWidth > 300).length"
    page.wait_for(f"{shown} >= 4")
    page.photograph(pictures / "optuna-study.png")
    page.open(f"{optuna}/dashboard/studies/{whole}/note")
    page.wait_for_text("Champion: trial")
    page.wait_for("[...document.querySelectorAll('img[alt^=\"Long-short\"]')].some(e => e.naturalWidth > 300)")
    page.photograph(pictures / "optuna-note.png")
    assert complaints(page) == []


def test_a_trial_shows_its_files_and_leads_to_its_run_and_back(
    optuna: str, mlflow: str, browser: Browser, pictures: Path
) -> None:
    page = browser.page()
    page.look(1280, 1400)
    page.open(f"{optuna}/dashboard")
    whole = study_ids(page)["seen"]
    page.open(f"{optuna}/dashboard/studies/{whole}/trials?numbers=1")
    for expected in ("Trial 1 of the campaign seen", "learning_curve.svg", "epochs.csv", "config.json"):
        page.wait_for_text(expected)
    page.wait_for("[...document.querySelectorAll('img[src*=\"/artifacts/\"]')].some(e => e.naturalWidth > 100)")
    page.photograph(pictures / "optuna-trial.png")
    assert "model.hidden_size 8" in page.text()
    assert "[index]" not in page.text()
    run = page.evaluate("[...document.querySelectorAll('a')].find(e => e.innerText === 'Its run in MLflow').href")
    assert complaints(page) == []
    page.open(run.replace("http://127.0.0.1:5000", mlflow))
    page.wait_for_text("0001 capacity")
    back = page.wait_for("[...document.querySelectorAll('a')].find(e => /in optuna-dashboard/.test(e.innerText))?.href")
    assert back == f"http://127.0.0.1:8080/dashboard/studies/{whole}/trials?numbers=1"
    page.photograph(pictures / "mlflow-trial.png")
    page.follow("System metrics")
    page.wait_for("location.hash.includes('/system-metrics')")
    for expected in ("cpu_cores", "memory_bytes"):
        page.wait_for_text(expected)
    page.photograph(pictures / "mlflow-system.png")
    assert complaints(page) == []


def test_mlflow_shows_the_campaign_its_report_and_its_model(mlflow: str, browser: Browser, pictures: Path) -> None:
    page = browser.page()
    page.look(1440)
    page.open(f"{mlflow}/#/experiments")
    page.wait_for_text("Model training")
    page.evaluate("[...document.querySelectorAll('*')].filter(e => e.innerText === 'Model training').at(-1).click()")
    page.follow("tiertune/seen")
    page.wait_for("[...document.querySelectorAll('a[href*=\"/runs/\"]')].some(e => e.innerText === 'seen')")
    page.photograph(pictures / "mlflow-experiment.png")
    page.click("a[href*='/runs/']")
    page.wait_for_text("tiertune.finding")
    page.photograph(pictures / "mlflow-campaign.png")
    page.follow("Artifacts")
    page.wait_for("location.hash.includes('/artifacts')")
    page.wait_for_text("report")
    campaign = page.evaluate("location.href").partition("/artifacts")[0]
    page.open(f"{campaign}/artifacts/report/report.html")
    page.wait_for_text("report.html")
    page.photograph(pictures / "mlflow-artifacts.png")
    page.open(f"{mlflow}/#/models/tiertune-seen")
    page.wait_for_text("tiertune-seen")
    page.wait_for_text("champion")
    page.photograph(pictures / "mlflow-model.png")
    assert complaints(page) == []


def study_ids(page: Page) -> Any:
    """Name -> id of every study the dashboard lists."""
    asked = (
        "fetch('/api/studies').then(r => r.json()).then(j => j.study_summaries.map(s => [s.study_name, s.study_id]))"
    )
    return dict(page.evaluate(asked))


def complaints(page: Page) -> list[str]:
    """What the page complained of, apart from what the interfaces bring along."""
    return [problem for problem in page.problems if not any(part in problem for part in NOT_OURS)]
