"""The kinds of what a run does, and which of them are struck."""

from __future__ import annotations

import pytest

from harness.strikes.director import How
from harness.strikes.events import PART, Event, Location, positions, selected

KINDS = [
    ("select phase, run from ops.phase", False, "read", False),
    ("PREPARE select 1", False, "read", False),
    ("BEGIN", False, "read", False),
    ("COMMIT", True, "commit", True),
    ("SAVEPOINT _pg3_1", True, "read", False),
    ("update ops.phase set phase = 'live' where phase = 'loading'", True, "ops.phase in a transaction", False),
    ("update ops.phase set phase = 'live' where phase = 'loading'", False, "ops.phase", True),
    ("insert into users (id) values ('update ops.phase')", True, "changes in a transaction", False),
    ("select pg_try_advisory_lock(1, 2)", False, "lock", True),
    ("delete from ops.fence_passes; COMMIT", True, "ops.fence; commit", True),
    ("CREATE TRIGGER t BEFORE DELETE ON users BEGIN SELECT 1; END", True, "changes in a transaction", False),
    ("CREATE DATABASE a TEMPLATE b", False, "create database", True),
]


@pytest.mark.parametrize(("text", "within", "does", "keeps"), KINDS)
def test_a_statement_is_told_by_what_it_does_and_whether_others_see_it(
    text: str, within: bool, does: str, keeps: bool
) -> None:
    event = Event("live", Location.POSTGRES, "sudamr", text, within)

    assert (event.kind, event.keeps) == (f"postgres sudamr: {does}", keeps)


@pytest.mark.parametrize(
    ("text", "changes", "keeps"), [("rename service.env", True, True), ("write service.env", True, False)]
)
def test_of_a_file_its_rename_is_what_a_later_run_acts_upon(text: str, changes: bool, keeps: bool) -> None:
    event = Event("switch", Location.FILE, "", text)

    assert (event.changes, event.keeps) == (changes, keeps)
    assert not Event("switch", Location.FILE, "", PART).changes


def test_of_what_is_kept_the_first_the_middle_and_the_last_are_struck_and_of_a_transaction_the_middle() -> None:
    commits = [Event("copy", Location.POSTGRES, "sudamr", "COMMIT", within=True)] * 7
    changes = [
        Event("copy", Location.POSTGRES, "sudamr", f"insert into users values ({n})", within=True) for n in range(5)
    ]
    chosen = [(position.kind, position.n) for position in selected(positions([*changes, *commits]))]

    assert chosen == [
        ("postgres sudamr: changes in a transaction", 2),
        *(("postgres sudamr: commit", n) for n in (0, 3, 6)),
    ]


def test_an_answer_can_be_lost_only_on_the_wire_and_only_of_what_is_kept() -> None:
    wire, file = Location.POSTGRES, Location.SQLITE
    commit, read = (positions([Event("live", wire, "", text)])[0] for text in ("COMMIT", "select 1"))
    of_the_file = positions([Event("live", file, "game.db", "COMMIT")])[0]

    assert [how for how in How if how.fits(commit)] == [How.CUT, How.LOSE, How.KILL, How.STOP]
    assert [how for how in How if how.fits(read)] == [How.CUT, How.KILL, How.STOP]
    assert [how for how in How if how.fits(of_the_file)] == [How.KILL, How.STOP]
