"""Receipts of an earlier version get their numbers on either store, in one order, while players play."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from psycopg import sql

from db import ops
from db.errors import Failure, Refusal
from db.legacy import receipts as legacy_receipts
from db.ops import fence
from db.samples import builders
from db.schema import migrate, revisions
from db.transfer.copying import copy
from game import tables
from game.chain import Head
from game.legacy import file_journals, numbering, sqlite_values
from game.rows import Rows
from game.rules.commands import ClaimMail, Command, Enhance, Equip
from game.urls import PostgresUrl
from harness.play import invariants
from tests.fixtures.numbered import GIVEN, take_numbers_away
from tests.game.places import LegacyPlace
from tests.game.playing_on_stores import ask

ENVIRONMENT = "test"
EXPANDED, NUMBERED = "0005", "0007"
PLAYERS = tuple(f"player{n:02}" for n in range(13))
"""More than the revision numbers in one transaction."""

COMMANDS: tuple[Command, ...] = (ClaimMail("m1"), Equip("fan"), Enhance("fan"))


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[LegacyPlace]:
    place = LegacyPlace(tmp_path / "game.db")
    for player in PLAYERS:
        place.put(builders.player(player, **GIVEN))
        for number, command in enumerate(COMMANDS):
            ask(place.store, command, f"{player} r{number}", player=player)
    yield place
    place.store.close()


def heads(path: Path) -> dict[str, Head]:
    with closing(sqlite_values.connect(path, readonly=True)) as conn:
        return {player: numbering.head(conn, player) for player in PLAYERS}


def test_a_file_of_an_earlier_version_is_numbered_as_if_it_had_always_been(legacy: LegacyPlace) -> None:
    before = heads(legacy.path)
    take_numbers_away(legacy.path)
    assert legacy_receipts.number_all(legacy.path) == len(PLAYERS) * len(COMMANDS)
    assert heads(legacy.path) == before
    assert legacy_receipts.number_all(legacy.path) == 0


def test_a_journal_without_a_line_may_have_no_table(legacy: LegacyPlace) -> None:
    take_numbers_away(legacy.path)
    with closing(sqlite3.connect(legacy.path)) as conn, conn:
        conn.execute(f"DROP TABLE {file_journals.TABLES['currency_ledger'].name}")
        conn.execute(f"DROP TABLE {file_journals.TABLES['inventory_history'].name}")
    ask(legacy.store, Equip("fan2"), "one more", player=PLAYERS[0])
    assert heads(legacy.path)[PLAYERS[0]].seq == len(COMMANDS) + 1


def test_a_command_numbers_what_its_player_had_before_it(legacy: LegacyPlace) -> None:
    before = heads(legacy.path)
    take_numbers_away(legacy.path)
    ask(legacy.store, Equip("fan2"), "one more", player=PLAYERS[0])
    rows = legacy.store.read(PLAYERS[0]) or Rows()
    assert invariants.breaches(rows) == []
    assert sorted(int(str(one["seq"])) for one in rows["action_receipts"].values()) == [1, 2, 3, 4]
    third = rows["action_receipts"][PLAYERS[0], f"{PLAYERS[0]} r2"]
    assert third["chain"] == before[PLAYERS[0]].chain


def test_a_receipt_is_found_in_a_fenced_file_without_numbers(legacy: LegacyPlace) -> None:
    take_numbers_away(legacy.path)
    legacy.fence()
    assert ask(legacy.store, COMMANDS[0], f"{PLAYERS[0]} r0", player=PLAYERS[0]).replayed


@pytest.fixture
def earlier(blank: PostgresUrl, legacy: LegacyPlace) -> PostgresUrl:
    """A database that is migrated up to the index, with what the players have on the other store, unnumbered."""
    ops.prepare(blank, ENVIRONMENT)
    with ops.connect(blank) as conn:
        conn.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(blank.schema)))
        conn.execute(sql.SQL("set search_path = {}").format(sql.Identifier(blank.schema)))
        conn.execute("create table alembic_version (version_num varchar(32) primary key)")
        for revision in revisions.read().applied(EXPANDED):
            apply(conn, blank, revision)
    with ops.connect(blank) as conn, fence.own_pass(conn):
        for player in PLAYERS:
            rows = without_numbers(legacy.store.read(player) or Rows())
            for table in (*tables.PLAYER_STATE, *tables.JOURNALS):
                copy(conn, as_it_was(conn, table), rows.get(table.name, {}).values())
    return blank


def as_it_was(conn: ops.Connection, table: sa.Table) -> sa.Table:
    """Return the table without the columns that later revisions make."""
    names = conn.execute(f"select * from {table.name} limit 0".encode()).description or ()
    present = {column.name for column in names}
    return sa.Table(table.name, sa.MetaData(), *(one._copy() for one in table.columns if one.name in present))


def apply(conn: ops.Connection, url: PostgresUrl, revision: revisions.Revision) -> None:
    conn.execute(revision.for_a_copy.encode())
    conn.execute("delete from alembic_version")
    conn.execute("insert into alembic_version values (%s)", (revision.id,))
    migrate.adopt(conn, url.schema)


def without_numbers(rows: Rows) -> Rows:
    for record in rows["action_receipts"].values():
        record.update(dict.fromkeys(file_journals.ADDED_TO_RECEIPTS))
    return rows


def run(url: PostgresUrl, **options: object) -> migrate.Migrated:
    return migrate.migrate(url, environment=ENVIRONMENT, service_role=None, **options)  # type: ignore[arg-type]  # a test names only what matters


def heads_of(url: PostgresUrl) -> dict[str, Head]:
    with ops.connect(url) as conn:
        rows = conn.execute("select id, seq, chain from users").fetchall()
    return {player: Head(seq, chain) for player, seq, chain in rows}


def test_the_revision_numbers_as_the_legacy_store_does(earlier: PostgresUrl, legacy: LegacyPlace) -> None:
    assert run(earlier).head == migrate.head()
    assert heads_of(earlier) == heads(legacy.path)
    with ops.connect(earlier) as conn:
        receipts = conn.execute("select user_id, request_id, seq, chain from action_receipts").fetchall()
        assert conn.execute("select from ops.fence_passes").rowcount == 0
    with closing(sqlite_values.connect(legacy.path, readonly=True)) as conn:
        expected = conn.execute(f"SELECT user_id, request_id, seq, chain FROM {numbering.RECEIPTS}").fetchall()
    assert sorted(receipts) == sorted(expected)


def test_no_receipt_is_numbered_while_a_process_is_older(earlier: PostgresUrl) -> None:
    asked: list[str] = []

    def unable(ability: str) -> list[str]:
        asked.append(ability)
        return ["http://127.0.0.1:8000: a process of an earlier version"]

    with pytest.raises(Refusal, match="before revision 0006"):
        run(earlier, unable=unable)
    assert asked == ["numbered receipts"]
    with ops.connect(earlier) as conn:
        assert migrate.current(conn) == EXPANDED


def test_what_was_numbered_before_a_failure_stays_and_the_rest_follows(
    earlier: PostgresUrl, legacy: LegacyPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session keeps the last player's row: those before him, a full transaction of them, keep their numbers."""
    with ops.connect(earlier) as conn:
        apply(conn, earlier, revisions.read().pending(EXPANDED)[0])
    with ops.connect(earlier) as other, monkeypatch.context() as impatient:
        impatient.setattr(migrate, "LOCK_TIMEOUT_SECONDS", 1)
        with other.transaction():
            other.execute("select from users where id = %s for update", (PLAYERS[-1],))
            with pytest.raises(Failure, match="locked by") as failure:
                run(earlier)
    assert "What revision 0007 did stays." in str(failure.value)
    before = {player: head for player, head in heads_of(earlier).items() if head.seq is not None}
    assert 0 < len(before) < len(PLAYERS)
    assert run(earlier).applied[0] == NUMBERED
    assert heads_of(earlier) == heads(legacy.path)
