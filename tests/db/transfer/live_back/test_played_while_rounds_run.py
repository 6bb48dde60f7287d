"""Players play by the game's own dispatch while rounds run: at the end the file is what Postgres says, to the byte."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from threading import Event, Thread

from db import ops
from db.legacy import receipts
from db.ops import fence
from game.dispatch import Request, dispatch
from game.errors import GameError, Refused, StoreFailure
from game.legacy import sqlite_values
from game.legacy.fence_schema import Owner
from game.postgres.store import PostgresStore
from game.rules.chance import Chance
from game.rules.commands import decode
from harness.databases import Database
from harness.load import scripts
from tests.db.transfer.live_back.carrying import RUN, cut_over, differences, session
from tests.db.transfer.transferring import PASS, seeded

NOW_MS = 1_770_000_000_000
PLAYERS = 24
THREADS = 3


def play(database: Database, asked: list[tuple[str, list[tuple[str, dict[str, object]]]]], ending: Event) -> None:
    """Play the scripts, one action a player in turn, until the end or the event."""
    with closing(PostgresStore(database.service, pool_size=1)) as store:
        for turn in range(40):
            for player, script in asked:
                if ending.is_set():
                    return
                if turn >= len(script):
                    continue
                action, fields = script[turn]
                request = Request(player, f"r-{turn}", decode(action, fields))
                try:
                    dispatch(store, request, clock=lambda: NOW_MS, chance=lambda key: Chance("dice", key))
                except (Refused, GameError, StoreFailure):
                    continue


def test_the_file_is_what_postgres_says_after_players_played_all_the_while(
    fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db", PLAYERS, anomalies=False)
    asked = [(player, list(script)) for player, script in scripts.read(source, players=PLAYERS).items()]
    cut_over(fenced_database, source)
    ending = Event()
    threads = [Thread(target=play, args=(fenced_database, asked[n::THREADS], ending)) for n in range(THREADS)]
    with session(fenced_database, source) as live:
        live.begin()
        for thread in threads:
            thread.start()
        lines = rounds = 0
        while (rounds < 15 or not lines) and any(thread.is_alive() for thread in threads):
            lines += live.round().lines
            rounds += 1
        assert lines > 0
        owner = Owner(RUN, "the file")
        with ops.connect(fenced_database.owner) as conn, conn.transaction():
            conn.execute("lock table users in exclusive mode")
            fence.raise_fence(conn, pass_token=PASS, owner=owner)
            live.last_round(conn)
            fence.raise_fence(conn, state="moved", owner=owner)
    ending.set()
    for thread in threads:
        thread.join()
    assert differences(fenced_database, source) == ()
    with closing(sqlite_values.connect(source, readonly=True)) as file:
        assert receipts.unnumbered(file) == ""
        gaps = (
            "SELECT user_id FROM sudamr_action_receipts GROUP BY user_id HAVING max(seq) <> count(*) OR min(seq) <> 1"
        )
        assert file.execute(gaps).fetchall() == []
        played = file.execute("SELECT count(*) FROM sudamr_action_receipts").fetchone()[0]
    with ops.connect(fenced_database.owner) as conn:
        assert conn.execute("select count(*) from action_receipts").fetchone() == (played,)
