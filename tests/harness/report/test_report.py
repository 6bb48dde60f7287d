"""The gate's page, XML and summary hold what the gate found, whatever is in it, and need nothing else."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from db.console.output import Output, plain
from db.errors import Refusal
from harness.gate import due
from harness.gate.admission import SIGNING_KEY
from harness.gate.report import Checked, Ended, GateReport
from harness.report import checked, junit, page, read, summary, write
from harness.report.page import WAYS
from tests.fixtures.gates import KEY, certificate, item, items, parts, report
from tests.fixtures.pages import Page

ROOT = Path(__file__).parents[3]
COUNTED = ("verdict", "scenarios", "twins", "faults_fired", "race_orders")

NASTY = "<script>alert('푸른 바람 부채')</script>"
TIMELINE = f"expected gold: 100\nfound gold: 50\n  1  BEGIN\n  2      UPDATE users -- {NASTY}\n"


def failing() -> GateReport:
    nasty = f"scenarios/reward/{NASTY}.yaml"
    failed = item("races", file=nasty, found=TIMELINE, orders=3)
    return report([*items(), item(file=nasty), failed], parts(Ended.FAIL, f"drift: {NASTY}"))


def test_the_page_says_verdict_counts_certificate_and_every_way() -> None:
    shown = Page(page(report(items(), parts())))
    assert "Gate for staging" in shown.text
    for expected in ("pass", "mail is claimed once", "postgres", "legacy", "twins", "cut", "races", "✓ 8", "✓ 20"):
        assert expected in shown.text, expected
    for expected in ("c0ffeec0ffee, clean tree", "15.18", "server_encoding = UTF8", "3.5", "2026-01-05T12:00:00+00:00"):
        assert expected in shown.text, expected


def test_a_failure_leads_from_its_cell_to_what_was_found() -> None:
    shown = Page(page(failing()))
    (link,) = [a for a in shown.of("a") if (a["href"] or "").startswith("#failure-")]
    assert [pre for pre in shown.of("pre") if f"#{pre['id']}" == link["href"]]
    assert TIMELINE.strip() in shown.text


def test_everything_is_escaped() -> None:
    html = page(failing())
    shown = Page(html)
    assert not shown.of("script")
    assert "<script" not in html
    assert NASTY in shown.text
    assert f"drift: {NASTY}" in shown.text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    html = page(failing())
    shown = Page(html)
    assert not [tag for tag, attributes in shown.tags if {"src", "srcset", "data"} & attributes.keys() or tag == "link"]
    assert all((a["href"] or "").startswith("#") for a in shown.of("a"))
    assert not re.search(r"url\(|@import|https?://", html)


def test_every_link_leads_somewhere_and_no_id_is_there_twice() -> None:
    shown = Page(page(failing()))
    ids = [attributes["id"] for _tag, attributes in shown.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for a in shown.of("a")} <= set(ids)


def test_the_matrix_is_told_to_those_who_hear_it() -> None:
    shown = Page(page(failing()))
    assert {th.get("scope") for th in shown.of("th")} == {"col", "row"}
    assert "failed: what was found" in shown.text
    assert "nothing to try" in shown.text
    assert [div for div in shown.of("div") if div.get("tabindex") == "0" and div.get("aria-labelledby") == "matrix"]


def test_a_pair_of_the_table_has_a_row_of_its_own_and_is_a_race() -> None:
    pair = item("equip+disassemble", file="scenarios/pairs.toml", orders=17)
    gated = report([*items(), pair], parts())
    shown = Page(page(gated))
    assert (gated.races.count, gated.races.orders) == (2, 37)
    assert "equip + disassemble" in shown.text
    assert "✓ 17" in shown.text
    assert len([th for th in shown.of("th") if th.get("scope") == "col"]) == 6


def test_every_mark_and_every_column_is_explained() -> None:
    shown = Page(page(failing()))
    titles = [abbr["title"] for abbr in shown.of("abbr")]
    assert titles == [WAYS[way] for way in ("postgres", "legacy", "twins", "fault-cut", "races")]
    for words in ("✓ 8", "✗", "·", *titles):
        assert words in shown.text, words
    cells = [cell.get("title") or "" for cell in shown.of("td")]
    assert "fault cut: passed, 8 tried" in cells
    assert "races: failed" in cells


def test_every_way_that_a_gate_has_is_explained() -> None:
    ways = {name.partition("::")[2] for name in due.items(ROOT) if "pairs.toml" not in name}
    assert ways <= WAYS.keys()


@pytest.mark.parametrize(
    ("key", "signed", "signature", "words"),
    [
        (KEY, True, Checked.FITS, ""),
        (None, True, Checked.UNCHECKED, "The signature was not checked"),
        ("another key, as long as it should", True, Checked.UNFIT, "The signature does not fit"),
        (KEY, False, Checked.UNSIGNED, "Unsigned: anyone can have written"),
    ],
)
def test_a_page_that_is_made_again_says_what_is_known_of_its_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None, signed: bool, signature: Checked, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    if key:
        monkeypatch.setenv(SIGNING_KEY, key)
    made = report(items(), parts())
    rest = plain(made)
    del rest["certificate"]
    path = tmp_path / "gate.json"
    bound = certificate(**{name: made.certificate[name] for name in COUNTED}).signed(KEY if signed else None, rest)
    Output(str(path)).json(dataclasses.replace(made, certificate=bound))

    known = checked(path)
    shown = Page(write(read(path), tmp_path / "gate.html", known)[0].read_text())

    assert known is signature
    warned = [p for p in shown.of("p") if p.get("role") == "alert"]
    assert bool(warned) is bool(words)
    assert words in shown.text
    assert not [p for p in Page(page(made)).of("p") if p.get("role") == "alert"]


def test_doubts_are_said() -> None:
    gated = report([one for one in items() if one.way != "races"], parts())
    assert "no order of two sessions was tried" in Page(page(gated)).text
    assert "no order of two sessions was tried" in summary(gated)


def test_a_gate_that_ran_nothing_has_a_page() -> None:
    assert "No scenario was run." in Page(page(report([], []))).text


def test_junit_counts_and_names_what_failed() -> None:
    gated = dataclasses.replace(failing(), doubts=("no \x00 fault fired",))
    root = ElementTree.fromstring(junit(gated))
    suites = {suite.get("name"): suite for suite in root}
    assert {name: (s.get("tests"), s.get("failures"), s.get("errors")) for name, s in suites.items()} == {
        "scenarios": ("3", "0", "0"),
        "twins": ("1", "0", "0"),
        "faults": ("1", "0", "0"),
        "races": ("2", "1", "0"),
        "parts": ("1", "1", "0"),
        "doubts": ("1", "0", "1"),
    }
    failed = suites["races"].find("testcase/failure")
    assert failed is not None
    assert failed.text == TIMELINE
    assert failed.get("message") == "expected gold: 100"
    properties = {p.get("name"): p.get("value") for p in suites["faults"].iter("property")}
    assert properties == {"cases": "9", "fired": "8"}


def test_the_summary_says_what_failed_and_holds_no_markup_of_anybody() -> None:
    text = summary(failing())
    assert text.startswith("## Gate for staging: fail\n")
    assert "| faults | 9 cases, 8 fired | 0 |" in text
    assert "<script" not in text
    assert "found gold: 50" in text


@pytest.fixture
def step_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "steps.md"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_all_three_are_written_and_githubs_is_added_to(tmp_path: Path, step_summary: Path) -> None:
    written = write(failing(), tmp_path / "out" / "gate.html")
    assert written == [tmp_path / "out" / "gate.html", tmp_path / "out" / "gate.xml", step_summary]
    assert all(path.stat().st_size for path in written)
    assert step_summary.read_text().startswith("before\n## Gate")


def test_a_finding_is_read_again_from_its_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    path = tmp_path / "gate.json"
    Output(str(path)).json(failing())
    again = read(path)
    assert again == failing()
    assert page(again) == page(failing())
    assert json.loads(path.read_text())["faults"] == {"count": 1, "failures": 0, "cases": 9, "fired": 8, "orders": 0}


@pytest.mark.parametrize("text", ["", "[]", '{"verdict": "pass"}'])
def test_what_is_no_finding_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(text)
    with pytest.raises(Refusal, match="the JSON that a gate wrote"):
        read(path)
    with pytest.raises(Refusal, match="invoke gate"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        ({"scenarios": {"count": 500, "failures": 0}}, "scenarios 500, the counts of the items"),
        ({"verdict": "pass"}, "verdict pass"),
        ({"items": []}, "the counts of the items"),
    ],
)
def test_a_finding_that_its_certificate_contradicts_is_refused(
    tmp_path: Path, forged: dict[str, object], reason: str
) -> None:
    path = tmp_path / "gate.json"
    out = Output(str(path))
    out.json(report([*items()[1:], item("postgres", found="expected 1; found 2")], parts()))
    path.write_text(json.dumps(json.loads(path.read_text()) | forged))
    with pytest.raises(Refusal, match=f"its certificate says otherwise: {reason}"):
        read(path)
