"""The log of a run: a folder with a file of JSON lines, each flushed to disk before the next thing is done.

It is what people read and what a run that goes on learns times and counts from. It decides nothing: what is done is
asked of the databases, the files and the services. Secrets are not in it; a URL that has to be put back is kept in a
file beside it that its owner alone can read.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.files import json_files, private
from game import printable

JOURNAL = "journal.jsonl"
RUN = "run"
END = "end"

FACT_CHARACTERS = 5_000
"""The longest text in a line, such as the output of a hook."""


def _on_standard_error(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line. `at` is epoch seconds; `facts` is what the event adds: seconds, counts, what a hook printed."""

    at: float
    event: str
    step: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """A run's folder; made at the first line.

    unwritten: called with each line that can't be written. A full disk must not stop a run while players wait.
    """

    folder: Path
    unwritten: Callable[[str], None] = field(default=_on_standard_error, compare=False, repr=False)

    @property
    def run(self) -> str:
        """Return the run's id: the folder's name."""
        return self.folder.name

    def write(self, event: str, step: str = "", /, *, when: float | None = None, **facts: Any) -> None:
        """Add a line and flush it to disk; if it can't be written, pass it to `unwritten`.

        when: epoch seconds, for a line about an earlier moment, such as one inside a window, where nothing is written.
        """
        self._write(event, step, when, facts, synced=True)

    def write_in_window(self, event: str, *, when: float) -> None:
        """Add a line where players would wait for the disk: the next one brings this one to disk too."""
        self._write(event, "", when, {}, synced=False)

    def _write(self, event: str, step: str, when: float | None, facts: Mapping[str, Any], *, synced: bool) -> None:
        cleaned = {name: printable.field(fact, name, FACT_CHARACTERS) for name, fact in facts.items()}
        at = _now().timestamp() if when is None else when
        line = printable.to_json({"at": at, "event": event, "step": step, **cleaned})
        try:
            self._append(line, synced=synced)
        except OSError as error:
            self.unwritten(f"     the log can't be written ({error.strerror}); its line is: {line}")

    def _append(self, line: str, *, synced: bool) -> None:
        private.make_folder(self.folder)
        with private.opened(self.folder / JOURNAL, "ab") as file:
            # A kill may have cut the last line; the new one must begin on a line of its own.
            torn = file.tell() > 0 and not self._ends_whole()
            file.write((b"\n" if torn else b"") + line.encode() + b"\n")
            file.flush()
            if synced:
                os.fsync(file.fileno())

    def entries(self) -> Iterator[JournalEntry]:
        """Yield the lines, oldest first; one that was cut in two, or is none of ours, is passed over."""
        path = self.folder / JOURNAL
        if not path.is_file():
            return
        with path.open("rb") as file:
            for line in file:
                with suppress(json_files.Unfit):
                    match json_files.parse(line):
                        case {"at": int() | float() as at, "event": str() as event, "step": str() as step, **facts}:
                            yield JournalEntry(at, event, step, {str(name): fact for name, fact in facts.items()})

    def first(self, event: str, step: str = "") -> JournalEntry | None:
        """Return the oldest line of this event."""
        return next((e for e in self.entries() if e.event == event and e.step == step), None)

    def last(self, event: str, step: str = "") -> JournalEntry | None:
        """Return the newest line of this event."""
        return next((e for e in reversed([*self.entries()]) if e.event == event and e.step == step), None)

    def keep_secret(self, name: str, text: str) -> None:
        """Keep a text in a file of mode 0600 beside the log, unless one is kept already: the first is the old value."""
        private.make_folder(self.folder)
        path = self.folder / name
        if path.exists():
            return
        private.write_whole(path, text)

    def secret(self, name: str) -> str | None:
        """Return the text that was kept under this name."""
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else None

    def _ends_whole(self) -> bool:
        with (self.folder / JOURNAL).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def unfinished(parent: Path, verb: str, environment: str) -> Journal | None:
    """Return the newest run of this verb, if it was begun and has no end."""
    journals = runs(parent, verb, environment)
    return journals[-1] if journals and journals[-1].last(END) is None else None


def runs(parent: Path, verb: str, environment: str) -> list[Journal]:
    """Return the runs of this verb on this environment, oldest first."""
    journals = [Journal(path.parent) for path in parent.glob(f"*/{JOURNAL}")]
    begun = [
        (entry.at, journal) for journal in journals if (entry := journal.first(RUN)) and _is(entry, verb, environment)
    ]
    return [journal for _, journal in sorted(begun, key=lambda pair: pair[0])]


def new_run() -> str:
    """Return an id for a new run, fit for the name of a schema."""
    return f"{_now():%Y%m%d_%H%M%S}_{secrets.token_hex(2)}"


def _is(entry: JournalEntry, verb: str, environment: str) -> bool:
    return bool(entry.facts.get("verb") == verb and entry.facts.get("environment") == environment)


def _now() -> datetime:
    return datetime.now(UTC)
