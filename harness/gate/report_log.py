"""Reads the lines of pytest-reportlog while they are written: each item that ended, until something was lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from game.redaction import redact
from harness.gate.report import Item

SWEEPS = ("sweep", "race")
"""The properties of a report that carry a sweep's own counts, as JSON text; see harness.pytest_plugin."""


@dataclass
class Phases:
    """The reports of an item so far: of its set-up, its call and its teardown."""

    seconds: float = 0.0
    outcomes: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    sweep: str = "{}"


class ReportLog:
    """The items of a run that ended. ended: called for each. lost: why no later line counts; empty at first."""

    def __init__(self, path: Path, ended: Callable[[int], None]) -> None:
        self.items: list[Item] = []
        self.lost = ""
        self._path = path
        self._ended = ended
        self._read = 0
        self._phases: dict[str, Phases] = {}

    def look(self) -> None:
        """Read the lines that were written since."""
        for line in self._lines():
            if self.lost:  # What ends after it failed for the loss, or passed without the server.
                return
            match line:
                case {"$report_type": "CollectReport", "nodeid": str(name), "outcome": "failed"}:
                    self._end(name, Phases(outcomes={"failed"}, texts=[_text(line)]))
                case {"$report_type": "TestReport"}:
                    self._hear(line)

    def _hear(self, line: dict[str, Any]) -> None:
        properties = dict(line["user_properties"])
        self.lost = properties.get("lost", "")
        phases = self._phases.setdefault(line["nodeid"], Phases())
        phases.seconds += line["duration"]
        phases.outcomes.add(line["outcome"])
        phases.texts += [properties.get("text") or _text(line)] if line["outcome"] == "failed" else []
        phases.sweep = next((properties[name] for name in SWEEPS if name in properties), phases.sweep)
        if line["when"] == "teardown" and not self.lost:
            self._end(line["nodeid"], self._phases.pop(line["nodeid"]))

    def _end(self, name: str, phases: Phases) -> None:
        passed = "failed" not in phases.outcomes
        if passed and "skipped" in phases.outcomes:
            return
        file, _, way = name.partition("::")
        seconds, text = round(phases.seconds, 3), redact("\n".join(phases.texts))
        self.items.append(Item(file, way or "collection", passed, seconds, text, json.loads(phases.sweep)))
        self._ended(1)

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that were written since and are whole: the last may be half written."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            yield json.loads(line)


def _text(line: dict[str, Any]) -> str:
    """Return a failure as text: that of a broken scenario is text, of a defect only the last line of its traceback."""
    longrepr = line["longrepr"]
    return longrepr if isinstance(longrepr, str) else str(longrepr["reprcrash"]["message"])
