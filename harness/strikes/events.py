"""Events of a run at which it can be struck: its round trips, SQLite statements, changes of files, programs.

An event is known again in another run by its step, its kind, and how many of that kind came before it in that step.
Events of one kind differ only in what they name, so the first, the middle and the last of them stand for all.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

HOLD = "hold"
BESIDE = "beside"
"""The step of events of background threads: which step is under way then is chance."""


class Location(StrEnum):
    """Where an event happens. TOOLS: a round trip of a program that the tool started, or in its scratch database."""

    POSTGRES = "postgres"
    TOOLS = "tools"
    SQLITE = "sqlite"
    FILE = "file"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that the tool is about to do. who: the session, or the file. text: the SQL, or the operation.

    within: it is part of a transaction that was begun before, so nobody else sees it until that ends.
    """

    step: str
    store: Location
    who: str
    text: str
    within: bool = False

    @property
    def kind(self) -> str:
        """Return the kind of the event: events of one kind leave the same behind."""
        return f"{self.store} {self.who}: {self._does}".replace(" :", ":")

    @property
    def keeps(self) -> bool:
        """Return True if what a later run acts upon may change: a commit, a change outside of one, a rename."""
        if self.store in (Location.FILE, Location.PROGRAM):
            return self.changes and self.text.startswith(("rename", "remove"))
        return self.changes and not self._does.endswith(WITHIN)

    @property
    def changes(self) -> bool:
        """Return True if it keeps something, or holds what others wait for: it is part of a transaction's changes."""
        return self._does not in _PASSING

    @property
    def _does(self) -> str:
        if self.store in (Location.FILE, Location.PROGRAM):
            return self.text
        what = _what(self.text)
        if what == READ or self.store is Location.TOOLS:
            return READ
        if COMMIT in what:
            return what
        if self.within:
            named = [part for part in what.split("; ") if part in _TURNS]
            return f"{named[0] if named else 'changes'}{WITHIN}"
        return READ if what == BEGIN else what


@dataclass(frozen=True, slots=True)
class Position:
    """An event as it is known again: the n-th of its kind in its step, from 0."""

    step: str
    kind: str
    n: int
    keeps: bool
    changes: bool
    store: Location

    def __str__(self) -> str:
        return f"{self.step}: {self.kind} #{self.n}"


READ, BEGIN, COMMIT, ROWS, SCHEMA, LOCK = "read", "begin", "commit", "rows", "schema", "lock"
WITHIN = " in a transaction"
SNAPSHOT, PART = "a file of a snapshot", "a part file"
_PASSING = frozenset({READ, SNAPSHOT, PART})
"""Files that no later run reads: a file that waits for its rename, and files of a snapshot that is not verified."""

_VERBS = {
    **dict.fromkeys(("begin", "start"), BEGIN),
    **dict.fromkeys(("commit", "end"), COMMIT),
    **dict.fromkeys(("insert", "update", "delete", "copy", "truncate"), ROWS),
    **dict.fromkeys(("create", "alter", "drop", "grant", "revoke", "comment", "do"), SCHEMA),
    "lock": LOCK,
}
_QUOTED = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/", re.DOTALL)
_CONTROL = re.compile(r"\b(?:ops\.(?:phase|proven|fence|lock_holder|revisions)|sudamr_fence\b|alembic_version)")
"""The tables that say how a move stands; a fence's passes stand with it."""

_TURNS = frozenset({"ops.phase", "ops.fence", "sudamr_fence"})
"""Tables that decide where players play. Writes of other tables are distinguished only outside of transactions."""


def _what(sql: str) -> str:
    """Return what the statements do, each kind once; of a change of a table that says how a move stands, its name."""
    text = _QUOTED.sub("?", sql.replace('"', "")).lower()
    if _TRIGGER.match(text):  # Its body has statements of its own.
        return SCHEMA
    kinds = dict.fromkeys(filter(None, map(_statement, text.split(";"))))
    return "; ".join(kind for kind in kinds if kind != READ) or READ


_TRIGGER = re.compile(r"\s*create (?:or replace )?(?:temp(?:orary)? )?trigger\b")


def _statement(sql: str) -> str:
    words = sql.split()
    if words[:1] == ["prepare"]:
        words = words[1:]
    if not words:
        return ""
    does = _VERBS.get(words[0], READ)
    if does == READ:
        return LOCK if "advisory" in sql else READ
    if does == SCHEMA and words[1:2] == ["database"]:
        return " ".join(words[:2])
    control = _CONTROL.search(sql) if does in (ROWS, SCHEMA) and "trigger" not in words else None
    return control[0] if control else does


def positions(events: Iterable[Event]) -> list[Position]:
    """Return the position of each event, in order."""
    counted: dict[tuple[str, str], int] = defaultdict(int)
    listed = []
    for event in events:
        key = event.step, event.kind
        listed.append(Position(*key, counted[key], event.keeps, event.changes, event.store))
        counted[key] += 1
    return listed


def selected(every: Iterable[Position]) -> Iterator[Position]:
    """Yield of each kind in each step the first, the middle and the last position; of what keeps nothing, the middle.

    Wherever within a transaction the tool is struck, the same is left: what was committed before.
    """
    groups: dict[tuple[str, str], list[Position]] = defaultdict(list)
    for position in every:
        groups[position.step, position.kind].append(position)
    for group in groups.values():
        # A run that is held asks now and then, so how often is chance.
        middle = 0 if group[0].step == HOLD else len(group) // 2
        yield from (group[n] for n in sorted({0, middle, len(group) - 1} if group[0].keeps else {middle}))
