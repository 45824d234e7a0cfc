"""The report's two forms: complete, self-contained, traceable, and whole when parts of the evidence are missing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from hpo.domain.campaign import Outcome
from hpo.report import CampaignEvidence, TrialEvidence, analyse, build_report, render, summary_lines, write_report
from hpo.report.document import as_plain, plain
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


def test_the_page_fetches_nothing_and_runs_nothing(page: str) -> None:
    outside = re.findall(r'(?:src|href|url)\s*[=(]\s*"?(?!#|data:)([^"\s>)]+)', page)
    assert outside == []
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "@import" not in page


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


def test_every_picture_is_well_formed_and_titled(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) > 15
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text
        drawn = " ".join(re.findall(r' (?:d|x|y)="([^"]*)"', picture))
        assert "nan" not in drawn
        assert "inf" not in drawn


def test_every_picture_stays_inside_its_frame(page: str) -> None:
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ElementTree.fromstring(picture)
        width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            size = 6.6 * len(text.text or "")
            x = float(text.attrib["x"]) - {"start": 0, "middle": size / 2, "end": size}[text.attrib["text-anchor"]]
            assert x >= -4, text.text
            assert x + size <= width + 14, text.text
            assert 0 <= float(text.attrib["y"]) <= height, text.text


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
    assert report.html.read_text(encoding="utf-8").count("<path") < 3_000


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
