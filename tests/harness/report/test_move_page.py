"""The page of a move holds what its journal says, whatever is in it, needs nothing else, and fits a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from db.console.output import plain
from db.cutover.journal import Journal
from db.cutover.live import LIVE_CUTOVER
from db.errors import Refusal
from harness.report import move, move_page
from harness.report.move import NOT_ENDED, ClientFigures, MoveReport
from tests.fixtures.pages import Page

NASTY = "<script>alert('푸른 바람 부채')</script>\u202e"
SECRET = "planted-password"
URL = f"postgresql://owner:{SECRET}@db.example/game"
PARTS = {"fence": 4.0, "lock": 6.0, "last round": 11.5, "checks": 12.0, "live": 14.25, "moved": 20.0}
BEGAN = 1_800_000_000.0


class Recorded:
    """A journal of a live move, written event by event on a clock of its own."""

    def __init__(self, folder: Path, **run: Any) -> None:
        self.journal = Journal(folder)
        self.at = BEGAN
        given = {"operator": "anna on db-1", "commit": "c0ffee", "certificate": "", "engine": "PostgreSQL 15.18"}
        self.write("run", verb="cutover", environment="test", live=True, **{"settings": [], **given, **run})

    def write(self, event: str, step: str = "", after: float = 1.0, **facts: Any) -> Recorded:
        self.at += after
        self.journal.write(event, step, when=self.at, **facts)
        return self

    def step(self, name: str, **facts: Any) -> Recorded:
        self.write("begin", name)
        return self.write("done", name, after=2.0, seconds=2.0, **facts)

    def whole(self) -> Recorded:
        """Write a move from its first step to its end."""
        for name in ("snapshot", "migrate"):
            self.step(name)
        self.write("begin", "copy")
        for players, share in ((0, 1.0), (900, 0.4), (2_000, 0.7)):
            facts = {"players": players, "total": 2_000, "rows": players * 3, "bytes": players * 37_000}
            self.write("copying", share=share, **facts)
        self.round(400, 500.0).write("done", "copy")
        self.step("stand by")
        independent = {"independent_players": 2_000, "independent_compared": 14_000, "independent_mismatches": 0}
        counts = {"source": 7_000, "loaded": 6_990, "quarantined": 10, "held": 1, "aside": 9, "players": 2_000}
        self.write("counts", **counts, mismatches=0, **independent)
        self.write("begin", "window").round(12, 9.0)
        self.write("window missed", attempt=1, found="1.20 s (fence 900 ms)")
        self.write("read-only begins", after=0.01).write("read-only ends", after=0.014)
        last = {"players": 2, "rows": 3, "written": 4}
        self.write("window passed", attempts=2, rounds=1, window_ms=14.25, parts_ms=PARTS, last_round=last)
        self.write("done", "window")
        self.write("instant", snapshot=1_990, as_they_are=7, by_chain=3, units=6_990)
        for name in ("switch", "instant", "capture off", "final dump", "first snapshot"):
            self.step(name)
        return self.write("end", verdict="live")

    def round(self, rows: int, ms: float) -> Recorded:
        return self.write("round", players=rows // 2, rows=rows, written=rows, after=ms / 1000, seconds=ms / 1000)

    @property
    def report(self) -> MoveReport:
        return move.read(self.journal.folder)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path / "20270115_080000_abcd")


def test_the_page_says_verdict_window_steps_rounds_and_proofs(recorded: Recorded) -> None:
    text = Page(move_page.page(recorded.whole().report)).text
    for expected in ("Cutover of test", "live", "14.2 ms", "at attempt 2", "1.20 s (fence 900 ms)", "6,990"):
        assert expected in text, expected
    assert "at its slowest throttled to 40 %" in text
    for step in LIVE_CUTOVER.plan:
        assert step.true_after in text
    for expected in ("anna on db-1", "c0ffee", "PostgreSQL 15.18", "1,990", "by their chain", "2,000"):
        assert expected in text, expected


def test_the_json_has_each_round_each_step_and_the_parts_of_the_window(recorded: Recorded) -> None:
    document = json.loads(json.dumps(plain(recorded.whole().report)))
    assert (document["verdict"], document["live"], document["environment"]) == ("live", True, "test")
    assert document["proofs"] == {
        "rows": {"players": 2_000, "mismatches": 0},
        "independent": {"players": 2_000, "compared": 14_000, "mismatches": 0},
        "instant": {"snapshot": 1_990, "as_they_are": 7, "by_chain": 3, "units": 6_990},
    }
    assert [one["rows"] for one in document["rounds"]] == [400, 12]
    assert [one["lag_seconds"] for one in document["rounds"]] == [None, 6.509]
    assert document["window"]["parts_ms"]["last round"] == 5.5
    assert document["window"]["missed"] == ["1.20 s (fence 900 ms)"]
    assert {step["name"]: step["status"] for step in document["steps"]}["window"] == "done"
    assert document["read_only_seconds"] == 0.014


def test_a_run_that_was_killed_has_a_page(recorded: Recorded) -> None:
    recorded.step("snapshot").write("begin", "copy").write("copying", players=5, total=10, rows=5, bytes=10)
    report = recorded.report
    assert (report.verdict, report.window) == (NOT_ENDED, None)
    assert {step.name: step.status for step in report.steps}["copy"] == "begun"
    assert "Nothing was proven yet." in Page(move_page.page(report)).text


def test_a_run_that_goes_on_after_an_end_has_not_ended(recorded: Recorded) -> None:
    recorded.write("end", verdict="undone").write("run", verb="cutover", environment="test", operator="ben on db-2")
    assert recorded.report.verdict == NOT_ENDED
    assert recorded.report.operators == ("anna on db-1", "ben on db-2")


def test_what_failed_and_its_undo_are_shown(recorded: Recorded) -> None:
    recorded.write("begin", "copy").write("failed", "copy", error="a disk that is full").step("unfence")
    recorded.write("end", verdict="undone")
    text = Page(move_page.page(recorded.report)).text
    assert "a disk that is full" in text
    assert "undo: unfence" in text


def test_everything_is_escaped_and_no_secret_is_shown(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "run", operator=NASTY, commit=NASTY, settings=[f"WEAKER: {NASTY}", URL])
    recorded.write("begin", "copy").write("failed", "copy", error=f"{NASTY} {URL}")
    recorded.write("window missed", found=NASTY).write("window passed", parts_ms={NASTY: 1.0}, window_ms=1.0)
    # A journal that another program wrote has not passed our redaction.
    with (recorded.journal.folder / "journal.jsonl").open("a") as file:
        line = {"at": BEGAN, "event": "failed", "step": "migrate", "error": URL}
        file.write(json.dumps(line) + "\n")
    html = move_page.page(recorded.report)
    assert not Page(html).of("script")
    assert "<script" not in html
    assert "\u202e" not in html
    assert SECRET not in html
    assert SECRET not in json.dumps(plain(recorded.report))


@pytest.mark.parametrize("value", [None, True, "x", [1], {"a": {}}, -1, 1e300])
def test_a_line_of_any_shape_is_no_traceback(recorded: Recorded, value: Any) -> None:
    names = ("players", "total", "rows", "bytes", "seconds", "parts_ms", "last_round", "window_ms", "found", "source")
    for event in ("copying", "round", "counts", "instant", "window passed", "window missed", "end", "run"):
        recorded.write(event, **dict.fromkeys((*names, "verdict", "settings", "operator"), value))
    assert move_page.page(recorded.report)


def test_the_page_needs_nothing_from_elsewhere(recorded: Recorded) -> None:
    html = move_page.page(recorded.whole().report)
    shown = Page(html)
    assert not [tag for tag, attributes in shown.tags if {"src", "srcset", "data"} & attributes.keys() or tag == "link"]
    assert all((a["href"] or "").startswith("#") for a in shown.of("a"))
    assert not re.search(r"url\(|@import|https?://", html)


def test_charts_are_drawn_with_the_window_marked(recorded: Recorded) -> None:
    shown = Page(move_page.page(recorded.whole().report))
    assert {line["class"] for line in shown.of("polyline")} == {"copy", "round"}
    assert len(shown.of("line")) == 2, "one round after another is no line yet"


def test_what_clients_saw_is_beside_ours(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "rehearsal.json"
    path.write_text(json.dumps({"verdict": "pass", "held_requests": 47, "freeze_seconds": 0.0, "missing": 0}))
    clients = move.read_clients(path)
    assert clients == ClientFigures(freeze_seconds=0.0, held_requests=47, missing=0)
    text = Page(move_page.page(move.read(recorded.whole().journal.folder, clients))).text
    assert "requests that waited in the window" in text
    assert "47" in text


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="with its journal"):
        move.folder_of("none", tmp_path)
    with pytest.raises(Refusal, match="the JSON of a rehearsal"):
        move.read_clients(tmp_path / "none.json")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_is_never_wider_than_its_window(recorded: Recorded, tmp_path: Path, width: int) -> None:
    path = tmp_path / "page.html"
    html = move_page.page(recorded.whole().report)
    # The page allows no script; the copy that is measured does.
    html = re.sub(r"<meta http-equiv=[^>]*>", "", html)
    probe = f"<iframe id=f width={width} height=2000 srcdoc='{_quoted(html)}'></iframe><script>onload = () => {{"
    measure = "const d = document.getElementById('f').contentDocument.documentElement;"
    path.write_text(
        f"{probe}{measure} document.title = `${{d.scrollWidth}} in ${{d.clientWidth}}`; }}</script>", "utf-8"
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    dump = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    match = re.search(r"<title>(\d+) in (\d+)</title>", dump)
    assert match is not None, dump[:500]
    assert match[1] == match[2]
    assert int(match[2]) > width - 30, "but for a scroll bar"


def _quoted(html: str) -> str:
    return html.replace("&", "&amp;").replace("'", "&#39;")
