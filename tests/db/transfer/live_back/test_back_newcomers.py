"""Players who come while rounds run keep their places in the file, also where a round dies before it notes them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from db import ops
from db.ops import fence
from db.transfer.live_back.session import LiveWriteBack
from game.legacy import sqlite_values
from harness.databases import Database
from tests.db.transfer.live_back.carrying import differences, play
from tests.db.transfer.transferring import PASS


def test_players_who_come_round_by_round_keep_their_places(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    for name in ("m", "z", "a", "b"):
        play(fenced_database, f"insert into users (id, nickname) values ('new-{name}', '{name}')")
        live.round()
        assert differences(fenced_database, source) == ()
    assert live.round().inserted == 0


def test_a_player_whom_a_failed_last_round_brought_keeps_his_place_when_others_come(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    play(fenced_database, "insert into users (id, nickname) values ('new-m', 'm')")
    with ops.connect(fenced_database.owner) as conn, conn.transaction(force_rollback=True):
        conn.execute("lock table users in exclusive mode")
        fence.raise_fence(conn, pass_token=PASS)
        assert live.last_round(conn).inserted == 1
    assert live.round().inserted == 0
    place = place_of("new-m", source)
    play(fenced_database, "insert into users (id, nickname) values ('new-a', 'a')")
    live.round()
    assert place_of("new-m", source) == place
    assert differences(fenced_database, source) == ()


def place_of(player: str, source: Path) -> int:
    with closing(sqlite_values.connect(source, readonly=True)) as file:
        ((place,),) = file.execute("SELECT rowid FROM users WHERE id = ?", (player,)).fetchall()
    return int(place)


def test_a_player_without_a_noted_place_makes_room_for_one_who_comes_before_him(
    live: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    play(fenced_database, "insert into users (id, nickname) values ('new-m', 'm')")
    live.round()
    play(fenced_database, "delete from legacy_rows where key = 'new-m'", "delete from ops.change_log")
    play(fenced_database, "insert into users (id, nickname) values ('new-a', 'a')")
    play(fenced_database, "delete from ops.change_log where positions is not null and positions <> '{}'")
    live.round()
    assert differences(fenced_database, source) == ()
