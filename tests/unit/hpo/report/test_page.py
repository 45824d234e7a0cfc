"""The report's two forms: complete, self-contained, traceable, and whole when parts of the evidence are missing."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from hpo.domain.campaign import Outcome
from hpo.report import CampaignEvidence, TrialEvidence, analyse, build_report, render, summary_lines, write_report
from hpo.report.document import as_plain, plain
from hpo.report.page import columns
from hpo.report.sections import deployed

MakeCampaign = Callable[..., CampaignEvidence]


@pytest.fixture(scope="module")
def page(made_up: CampaignEvidence) -> str:
    return render(build_report(made_up))


@pytest.fixture(scope="module")
def written(made_up: CampaignEvidence, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    report = write_report(made_up, tmp_path_factory.mktemp("report"))
    assert report.html.exists()
    loaded: dict[str, Any] = json.loads(report.json.read_text(encoding="utf-8"))
    return loaded


def test_the_page_fetches_nothing_and_runs_nothing_but_its_own_scripts(page: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy.group(1).startswith("default-src 'none'; script-src 'sha256-")
    allowed = re.findall(r"'sha256-([^']*)'", policy.group(1))
    assert [b64encode(sha256(script.encode()).digest()).decode() for script in scripts] == allowed
    assert len(scripts) == 2
    rest = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    outside = re.findall(r'(?:src|href|url)\s*[=(]\s*"?(?!#|data:)([^"\s>)]+)', rest)
    assert outside == []
    assert "@import" not in rest


def test_the_page_answers_first(page: str) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", page)
    assert heading
    assert heading.group(1).startswith("Better than the default by 0.0")
    order = [page.index(f'<section id="{key}"') for key in ("answer", "luck", "search", "champion", "reproduce")]
    assert order == sorted(order)


def test_the_data_have_a_section_and_a_file_of_their_own(made_up: CampaignEvidence, tmp_path: Path) -> None:
    warned = replace(made_up, data_lines=("Stocks    5",), data_warnings=("Rows without open: 3.",))
    report = write_report(warned, tmp_path)
    page = report.html.read_text(encoding="utf-8")
    assert page.index('<section id="data"') > page.index('<section id="answer"')
    assert "1 warning: see to them before anything is deployed." in page
    assert report.data.read_text(encoding="utf-8") == "Warning: Rows without open: 3.\nStocks    5\n"
    assert '<section id="data"' not in render(build_report(made_up))


def drawn(page: str) -> list[dict[str, Any]]:
    """Every chart of a page as Vega-Lite is given it."""
    found = re.findall(r'<div class="chart".*?<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(text) for text in found]


def test_every_chart_says_what_it_shows_and_holds_only_numbers(page: str) -> None:
    charts = drawn(page)
    assert len(charts) > 15
    for chart in charts:
        assert chart["description"]
        assert chart["width"] == "container"
        assert chart["height"] > 20


def test_charts_draw_the_figures_of_the_report(page: str, made_up: CampaignEvidence, written: dict[str, Any]) -> None:
    by_title = dict(
        zip(re.findall(r"<figcaption>([^<]*)</figcaption>\n<div class=\"chart\"", page), drawn(page), strict=True)
    )
    report = written["sections"]
    intervals = report["answer"]["charts"]["intervals"]
    rows = by_title[intervals["title"]]["data"]["values"]
    assert {row["name"]: row["estimate"] for row in rows} == {
        name: one["estimate"] for name, one in intervals["data"].items()
    }
    history = report["search"]["charts"]["history"]["data"]
    points = [row for layer in by_title["History"]["layer"][1:] for row in layer["data"]["values"]]
    assert {row["x"]: row["y"] for row in points} == {row["slot"]: row["score"] for row in history}
    traded = report["champion"]["charts"]["long_short"]
    last = by_title[traded["title"]]["data"]["values"][-1]
    assert last["y1"] == pytest.approx(100 * sum(traded["data"]["net"]), rel=1e-4)


def test_key_charts_are_pictures_beside_the_page(made_up: CampaignEvidence, tmp_path: Path) -> None:
    (tmp_path / "report.outdated.svg").write_text("<svg/>")
    report = write_report(made_up, tmp_path)
    names = ["intervals", "shrinkage", "cumulative_raw_rank_ic", "long_short", "deciles"]
    assert [path.name for path in report.pictures] == [f"report.{name}.svg" for name in names]
    assert sorted(tmp_path.glob("*.svg")) == sorted(report.pictures)
    assert set(report.pictures) < set(report.files)
    for path in report.pictures:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_trial_that_is_named_leads_to_its_row(page: str, made_up: CampaignEvidence) -> None:
    rows = re.findall(r'<tr id="trial-(\d+)"', page)
    assert rows == [str(trial.slot) for trial in made_up.trials]
    links = set(re.findall(r'href="#trial-(\d+)"', page)) | set(re.findall(r'"link":"#trial-(\d+)"', page))
    assert links == {str(trial.slot) for trial in made_up.trials}


@pytest.mark.parametrize(("number", "most", "wide"), [(1, 3, 1), (2, 3, 2), (3, 3, 3), (4, 3, 2), (5, 3, 3), (7, 5, 4)])
def test_the_last_row_of_charts_is_as_full_as_can_be(number: int, most: int, wide: int) -> None:
    assert columns(number, most) == wide


def test_every_figure_names_its_source(written: dict[str, Any]) -> None:
    num_figures = 0
    for section in written["sections"].values():
        for kind in ("facts", "tables", "charts"):
            for key, figure in section[kind].items():
                assert figure["source"], key
                num_figures += 1
    assert num_figures > 30


def test_json_and_page_say_the_same(written: dict[str, Any], page: str, made_up: CampaignEvidence) -> None:
    assert written["finding"] == "better"
    assert written["verdict"][1:] in page
    holdout = written["sections"]["answer"]["facts"]["holdout"]["value"]
    found = analyse(made_up).holdout
    assert found is not None
    assert holdout["estimate"] == pytest.approx(found.estimate, rel=1e-5)
    assert f"{found.estimate:.4f}" in page


def test_text_from_outside_is_escaped(made_up: CampaignEvidence) -> None:
    trials = [replace(t, reason="<b>boom</b>" if t.outcome is Outcome.FAILED else None) for t in made_up.trials]
    sneaky = replace(made_up, trials=trials, name="<i>x</i>")
    page = render(build_report(sneaky))
    assert "<b>boom" not in page
    assert "<i>x" not in page
    assert "&lt;b&gt;boom" in page


@pytest.mark.parametrize(
    "missing",
    [
        {"holdout": None, "num_holdout_openings": 0},
        {"champion_slot": None, "holdout": None},
        {"default_slot": None},
        {"trials": [], "champion_slot": None, "holdout": None},
        {"data_source": "prices.parquet"},
    ],
)
def test_missing_parts_are_absent_and_the_rest_stands(made_up: CampaignEvidence, missing: dict[str, Any]) -> None:
    less = replace(made_up, **missing)
    page = render(build_report(less))
    assert '<section id="reproduce"' in page
    assert ('<section id="champion"' in page) == ("holdout" not in missing)
    assert any(line.startswith("Verdict: ") for line in summary_lines(less)[:2])


def test_members_and_contenders_are_shown(made_up: CampaignEvidence, committee_factory: MakeCampaign) -> None:
    assert made_up.holdout is not None
    campaign = committee_factory(made_up, **{"LightGBM with defaults": made_up.holdout.daily[1]})
    plainly = as_plain(build_report(campaign))
    answer = plainly["sections"]["answer"]
    (label,) = [fact["label"] for fact in answer["facts"].values() if fact["label"].startswith("holdout ")]
    assert label.endswith(f"of the committee of {len(campaign.members)} trials")
    tables = plainly["sections"]["deployed"]["tables"]

    assert [row["member"] for row in tables["members"]["rows"]] == list(campaign.members)
    slots = [row["slot"] for row in tables["members"]["rows"]]
    page = render(build_report(campaign))
    section = page[page.index('<section id="deployed"') : page.index('<section id="luck"')]
    assert re.findall(r'href="#trial-(\d+)"', section) == [str(slot) for slot in slots]
    assert {row["name"] for row in tables["rivals"]["rows"]} == {
        f"the committee of {len(campaign.members)} trials",
        "the single champion",
        "the default configuration",
        "LightGBM with defaults",
    }
    assert plainly["advice"].startswith(
        f"deploy the committee of {len(campaign.members)} trials; the best contender, L"
    )
    assert summary_lines(campaign)[0] == f"Recommendation: {plainly['advice']}."
    assert f"Recommendation: {plainly['advice']}" in render(build_report(campaign))


def test_what_is_not_recommended_is_not_called_deployed(
    made_up: CampaignEvidence, committee_factory: MakeCampaign
) -> None:
    assert made_up.holdout is not None
    findings = analyse(committee_factory(made_up))
    assert findings.verdict.recommended
    assert deployed.build(made_up, findings).lead.startswith("What is deployed is")
    refused = replace(findings, verdict=replace(findings.verdict, recommended=False))
    assert deployed.build(made_up, refused).lead.startswith("What was judged, and is not recommended, is")


def test_no_ceiling_on_real_data(made_up: CampaignEvidence) -> None:
    assert made_up.holdout is not None
    real = replace(made_up, holdout=replace(made_up.holdout, ceiling=None, details=None))
    page = render(build_report(real))
    assert "share of the ceiling" not in page
    assert "Long-short" not in page
    assert not any(line.startswith("Ceiling") for line in summary_lines(real))


def test_a_campaign_in_its_first_minute(made_up: CampaignEvidence) -> None:
    waiting = [TrialEvidence(slot, 1, None) for slot in range(1, 6)]
    young = replace(made_up, trials=waiting, champion_slot=None, holdout=None)
    assert young.outcomes()["unfinished"] == 5
    assert "5 not finished" in render(build_report(young))


def test_summary_lines(made_up: CampaignEvidence) -> None:
    text = "\n".join(summary_lines(made_up))
    assert text.startswith("Recommendation: deploy the champion.\nVerdict: better than the default by 0.0")
    for expected in (
        "Champion: trial 20, optim.lr",
        "Validation RankIC: 0.0",
        "Holdout RankIC of the champion: 0.0",
        "% of the best possible holdout RankIC",
        "deflated score",
        "13 complete, 6 pruned, 1 failed",
    ):
        assert expected in text


def test_pruning_savings_are_counted_at_each_trials_own_pace(made_up: CampaignEvidence) -> None:
    pruned = [t for t in made_up.trials if t.outcome is Outcome.PRUNED]
    assert [t.seconds_saved for t in pruned] == [2.0 * (12 - len(t.epochs)) for t in pruned]
    assert sum(t.seconds_saved for t in made_up.trials) == sum(t.seconds_saved for t in pruned)


def test_a_thousand_trials(campaign_factory: MakeCampaign, tmp_path: Path) -> None:
    large = campaign_factory(num_trials=1000)
    begin = time.process_time()
    report = write_report(large, tmp_path)
    assert time.process_time() - begin < 20
    assert report.html.stat().st_size < 5_000_000


def test_plain_refuses_what_json_cannot_hold() -> None:
    assert plain({"x": [float("nan"), 0.1234567891]}) == {"x": [None, 0.123457]}
    with pytest.raises(TypeError, match="plain values"):
        plain(object())


def test_the_history_says_with_which_trial_each_tier_begins(page: str, made_up: CampaignEvidence) -> None:
    first: dict[int, int] = {}
    for trial in made_up.trials:
        first[trial.tier] = min(trial.slot, first.get(trial.tier, trial.slot))
    begun = ", ".join(f"{tier.name} from trial {first[tier.number]}" for tier in made_up.tiers if tier.number in first)
    assert f"Tiers: {begun}." in page
    empty = replace(made_up, tiers=(*made_up.tiers, replace(made_up.tiers[0], number=99, name="nobody")))
    assert "nobody from trial" not in render(build_report(empty))


def test_every_halving_of_the_days_is_in_its_column(written: dict[str, Any], made_up: CampaignEvidence) -> None:
    shares = written["sections"]["luck"]["charts"]["cscv_ranks"]["data"]["share"]
    found = analyse(made_up).overfitting
    assert found is not None
    columns = np.floor(len(shares) / (1 + np.exp(-found.logits))).astype(int)
    assert shares == pytest.approx(np.bincount(columns, minlength=len(shares)) / len(columns), abs=1e-6)


def tables(evidence: CampaignEvidence) -> dict[str, Any]:
    """Of the search's section, by key."""
    section = next(section for section in build_report(evidence).sections if section.key == "search")
    return {table.key: table for table in section.tables}


def test_trials_of_different_arithmetic_are_marked(made_up: CampaignEvidence) -> None:
    assert "devices" not in tables(made_up)
    first, *rest = made_up.trials
    mixed = replace(made_up, trials=[replace(first, device="CPU A"), *(replace(t, device="CPU B") for t in rest)])
    found = tables(mixed)["devices"]
    assert [row["device"] for row in found.rows] == ["CPU B", "CPU A"]
    assert found.rows[1]["trials"] == str(first.slot)


def test_the_best_under_each_choice_that_others_depend_on_is_named(made_up: CampaignEvidence) -> None:
    assert "by_parent" not in tables(made_up)
    trials = [
        replace(trial, settings={"model.kind": "lightgbm" if trial.slot % 2 else "gru"}) for trial in made_up.trials
    ]
    rows = {
        row["value"]: row for row in tables(replace(made_up, trials=trials, parents=["model.kind"]))["by_parent"].rows
    }
    for value, row in rows.items():
        own = [trial for trial in trials if trial.settings["model.kind"] == value]
        scores = {trial.slot: trial.score for trial in own if trial.outcome is Outcome.COMPLETE}
        assert (row["trials"], row["complete"]) == (len(own), len(scores))
        assert row["score"] == max(scores.values()) == scores[row["best"]]
    assert rows.keys() == {"gru", "lightgbm"}


def test_trials_that_break_a_constraint_are_named_with_what_they_break(made_up: CampaignEvidence) -> None:
    assert "infeasible" not in tables(made_up)
    first = made_up.trials[0]
    broken = replace(first, reason="infeasible: num_parameters at most 10, and it has 20")
    found = tables(replace(made_up, trials=[broken, *made_up.trials[1:]]))["infeasible"]
    assert found.rows == [
        {"trial": first.slot, "score": first.score, "broken": "num_parameters at most 10, and it has 20"}
    ]
