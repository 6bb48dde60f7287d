"""A live move is streamed to a machine as lines of JSON, and its report is the last of them."""

from __future__ import annotations

import json

import pytest

from db.console.live_json import LiveJson
from db.console.live_screen import LiveLines
from db.console.live_view import CopyProgress, MoveState, RoundProgress
from db.console.output import Output
from db.console.progress import PLAIN_INTERVAL_SECONDS, Plain


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_each_state_is_a_line_and_what_comes_every_ten_seconds_and_none_begins_a_window(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, clock = Output("-"), Clock()
    stream = out.stream
    assert stream is not None
    shown = LiveLines(Plain(out.say), quiet=False)
    view = LiveJson(shown, stream)
    view.figures.now = clock
    view._written_at = clock()
    with view.doing(MoveState.COPYING, lambda: 3):
        for n in range(3):
            clock.seconds += PLAIN_INTERVAL_SECONDS / 2
            view.copied(CopyProgress(n * 100, 1000, n * 500, n * 10_000, 0.5))
        with view.doing(MoveState.HOLDING, reason="until a go"):
            view.applied(RoundProgress(1, 2, 2, 0.1, clock(), left=7))
    with view.doing(MoveState.IN_THE_WINDOW):
        pass
    view.passed({"fence": 3.5})
    out.json({"verdict": "live"})
    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == ["copying", "copying", "holding", "copying"]
    assert [line["players"] for line in lines] == [None, 100, 200, 200]
    assert (lines[1]["dirty"], lines[1]["share"], lines[2]["reason"]) == (3, 0.5, "until a go")
    assert (lines[0]["lag_seconds"], lines[0]["expected_window_ms"]) == (None, None), "unknown is never zero"
    assert (lines[3]["dirty"], lines[3]["parts_ms"]) == (7, {"fence": 3.5})
    assert all(line["at"] > 0 for line in lines)
    assert last == {"verdict": "live"}
    assert shown.figures.copy == view.figures.copy


@pytest.mark.parametrize("path", [None, "report.json"])
def test_where_the_document_goes_elsewhere_nothing_is_streamed(path: str | None) -> None:
    assert Output(path).stream is None
