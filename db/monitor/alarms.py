"""Raises and ends alarms: a breach in two of three looks raises one, a value well within the limit ends it.

One message each way. The state and the message that it causes are written in one transaction, and the message is
removed once it was delivered: a watch that is killed delivers it at its next look. Only one that is killed between the
answer of the receiver and that removal delivers it twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from db.monitor import samples
from db.monitor.check import CheckOutcome, Judgement
from db.monitor.watching import Looked

LOOKS = 3
BREACHES = 2
"""So many of the last LOOKS raise an alarm: one look alone may have met a moment that is over."""

ANSWER = "the server answers"
"""The alarm of looks that could not ask the server."""

PAGE = "docs/watch.md"


class MessageKind(StrEnum):
    """A message of an alarm that began, or one of its end."""

    RAISED = "alarm"
    ENDED = "over"


@dataclass(frozen=True, slots=True)
class AlarmMessage:
    """A message to people. seconds: how long the alarm lasted; None while it does. do: one command or statement."""

    kind: MessageKind
    environment: str
    check: str
    text: str
    do: str
    at: str
    seconds: float | None = None

    @property
    def line(self) -> str:
        """Return the message in one line."""
        lasted = "" if self.seconds is None else f" after {timedelta(seconds=round(self.seconds))}"
        remedy = f" Do: {self.do} See {PAGE}#{self.check.replace(' ', '-')}" if self.kind is MessageKind.RAISED else ""
        return f"[{self.environment}] {self.kind}{lasted}: {self.check}: {self.text}.{remedy}"


@dataclass(frozen=True, slots=True)
class _Sign:
    """The part of a look that one alarm is about. breach: None where it was not judged. cleared: an alarm is over."""

    check: str
    breach: bool | None
    cleared: bool
    text: str
    do: str


def note(kept: sqlite3.Connection, looked: Looked, places: Iterable[str]) -> list[AlarmMessage]:
    """Note a look: change the alarms, and write each message once for each place. Return the new messages."""
    messages = []
    listed = list(places)
    with samples.transaction(kept):
        for sign in _signs(looked):
            message = _step(kept, looked, sign)
            if message is not None:
                messages.append(message)
                for place in listed:
                    kept.execute(
                        "insert into messages (at, place, document) values (?, ?, ?)",
                        (looked.at.timestamp(), place, json.dumps(asdict(message))),
                    )
    return messages


def firing(kept: sqlite3.Connection) -> dict[str, datetime]:
    """Return the alarms that stand, and since when."""
    rows = kept.execute("select check_name, firing_since from alarms where firing_since is not null order by 2, 1")
    return {name: datetime.fromtimestamp(since, UTC) for name, since in rows.fetchall()}


def undelivered(kept: sqlite3.Connection) -> list[tuple[int, str, AlarmMessage]]:
    """Return the messages that were not delivered yet, each with its id and place, the oldest first."""
    rows = kept.execute("select id, place, document from messages order by id").fetchall()
    return [(number, place, _message(document)) for number, place, document in rows]


def delivered(kept: sqlite3.Connection, number: int) -> None:
    """Remove a message that was delivered."""
    kept.execute("delete from messages where id = ?", (number,))


def text_of(judgement: Judgement) -> str:
    """Return value, limit, window and evidence in one clause."""
    window = "" if judgement.window_seconds is None else f" in {judgement.window_seconds:,.0f} s"
    bound = "least" if judgement.least else "most"
    evidence = f" ({judgement.evidence})" if judgement.evidence else ""
    return f"{judgement.value:,.4g} {judgement.unit}{window}, at {bound} {judgement.limit:g}{evidence}"


def _signs(looked: Looked) -> list[_Sign]:
    away = bool(looked.error)
    signs = [_Sign(ANSWER, away, not away, looked.error or "it does", f"invoke status --env {looked.environment}")]
    for each in looked.judgements:
        breach = None if each.outcome is CheckOutcome.NOT_JUDGED else each.outcome is CheckOutcome.BREACH
        text = each.why if each.value is None else text_of(each)
        signs.append(_Sign(each.check, breach, each.cleared, text, each.do))
    return signs


def _step(kept: sqlite3.Connection, looked: Looked, sign: _Sign) -> AlarmMessage | None:
    """Move one alarm on by one look. A look that could not judge it changes nothing."""
    if sign.breach is None:
        return None
    row = kept.execute("select recent, firing_since from alarms where check_name = ?", (sign.check,)).fetchone()
    recent, since = row or ("", None)
    recent = (recent + ("x" if sign.breach else "."))[-LOOKS:]
    at = looked.at.timestamp()
    kind, seconds = None, None
    if since is None and recent.count("x") >= BREACHES:
        kind, since = MessageKind.RAISED, at
    elif since is not None and sign.cleared:
        kind, seconds, since, recent = MessageKind.ENDED, at - since, None, ""
    kept.execute("insert or replace into alarms values (?, ?, ?)", (sign.check, recent, since))
    if kind is None:
        return None
    return AlarmMessage(kind, looked.environment, sign.check, sign.text, sign.do, looked.at.isoformat(), seconds)


def _message(document: str) -> AlarmMessage:
    values = json.loads(document)
    return AlarmMessage(**{**values, "kind": MessageKind(values["kind"])})
