"""The quarantine is loaded again: a value that was decided, rows that were kept whole; never over what play did."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.schema import CreateTable

from db import ops, transfer
from db.console.progress import Silent
from db.errors import Failure, Refusal
from db.legacy.comparison import compare_files
from db.quarantine import replaying
from db.quarantine.results import Decided
from db.servers import Server
from game.dispatch import Request, dispatch
from game.errors import Refused
from game.legacy import file_journals
from game.legacy.codec import mapping
from game.postgres.store import PostgresStore
from game.rows import Rows
from game.rules.chance import Chance
from game.rules.commands import ClaimMail, CollectMission, Command, FinishTournament, SellItem, StartTournament, Unequip
from harness.cli.commands import replays
from harness.databases import Database
from harness.play.invariants import breaches
from tests.db.cutover.cutover_world import quiet_world
from tests.db.quarantine.replays import column, kept, playing, replay, rows
from tests.db.quarantine.unread_values import unread
from tests.db.transfer.transferring import PASS, load, moved, seeded, sqlite, value, written_to

LINES = ("action_receipts", "currency_ledger", "inventory_history")
"""The journals to which a replay may add."""


def play_on(store: PostgresStore, ids: list[str]) -> int:
    """Each player tries one of many commands, whatever it needs; how many were granted."""
    granted = 0
    for player in ids:
        rows = store.read(player)
        assert rows is not None
        for n, command in enumerate(_wishes(rows)):
            request = Request(player, f"after-{n}", command)
            with suppress(Refused):
                dispatch(
                    store,
                    request,
                    clock=lambda: 1_800_000_000_000,
                    chance=lambda request_id: Chance("dice", request_id),
                )
                granted += 1
    return granted


def _wishes(rows: Rows) -> Iterator[Command]:
    yield from (ClaimMail(str(key[1])) for key in list(rows["user_mail"])[:3])
    yield from (SellItem(str(key[1]), 1) for key in list(rows["user_inventory"])[:3])
    yield from (Unequip(str(key[1])) for key in list(rows["user_equipment"])[:2])
    yield from (CollectMission(str(key[1])) for key in rows["user_missions"])
    yield from (StartTournament(kind) for kind in mapping.KINDS)


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.core), 1, 2])
def test_what_players_did_meanwhile_stays_and_their_journals_add_up(
    fenced_database: Database, tmp_path: Path, seed: int
) -> None:
    source = seeded(tmp_path / "game.db", 20)
    with unread(seed, one_in=12):
        load(fenced_database, source)
    ids = [str(key) for key in column(fenced_database, "select id from users order by id")]
    with closing(playing(fenced_database)) as store:
        let_go(fenced_database, ids[::4])
        assert play_on(store, ids) > 10
        transfer.back(fenced_database.owner, tmp_path / "before.db")
        with unread(seed, one_in=12):
            transfer.back(fenced_database.owner, tmp_path / "as_loaded.db")
        assert compare_files(tmp_path / "before.db", tmp_path / "as_loaded.db") == [], "a release changes nothing"
        before = {player: read(store, player) for player in ids}
        openings = rows(fenced_database, "player_openings")

        done = replay(fenced_database)

        assert done.of("loaded")
        assert rows(fenced_database, "player_openings") == openings
        adjusted = {one.player: one.adjustment.receipt for one in done.values if one.adjustment}
        transfer.back(fenced_database.owner, tmp_path / "after.db")
        assert set(differing_tables(tmp_path)) <= {f"sudamr_{journal}" for journal in LINES}
        for player in ids:
            now = read(store, player)
            assert set(broken(now)) <= set(broken(before[player])), player
            added = {key for journal in LINES for key in now[journal].keys() - before[player][journal].keys()}
            assert {key[1] for key in added} == ({adjusted[player]} if player in adjusted else set())
            assert all(before[player][journal].items() <= now[journal].items() for journal in LINES)
    assert adjusted, "a player whose journals had begun was given something"


def differing_tables(folder: Path) -> list[str]:
    """Name the tables in which the file rebuilt after the replay differs from the one before it."""
    return [one.split()[0].rstrip(":,") for one in compare_files(folder / "before.db", folder / "after.db")]


def let_go(database: Database, ids: list[str]) -> None:
    """An operator lets held players play with what can be read."""
    with written_to(database.owner) as conn:
        conn.execute("update users set held = false where id = any(%s)", (ids,))


def read(store: PostgresStore, player: str) -> Rows:
    result = store.read(player)
    assert result is not None
    return result


def broken(player: Rows) -> list[str]:
    """The standing checks that do not hold of the player."""
    return [breach.law for breach in breaches(player)]


def originals(database: Database) -> list[object]:
    return column(database, "select original from quarantine order by n")


def numbers(database: Database, column_name: str) -> list[int]:
    return [int(str(n)) for n in column(database, f"select n from quarantine where column_name = '{column_name}'")]


DECIDED = {
    "a number": ("gold = 'many'", "gold", "many", "1200", "gold", 1200),
    "diamonds": ("diamonds = -5", "diamonds", -5, "7", "diamonds", 7),
    "a document": ("mail = '[{'", "mail", "[{", "[]", "(select count(*) from user_mail where user_id = id)", 0),
    "an item": (
        'inventory = \'[ {"id":"b","name":5} ,{"id":"a","name":"n","type":"material"}]\', equipment = NULL',
        "inventory",
        '{"id":"b","name":5}',
        '{"id":"b","name":"검","type":"material","quantity":3}',
        "(select string_agg(concat(i.id, quantity), ',' order by i.id) from user_inventory i where user_id = users.id)",
        "a1,b3",
    ),
    "a text that is not UTF-8": ("mail = CAST(x'ff' AS TEXT)", "mail", b"\xff", "[]", "held::int", 0),
    "a quest": (
        'quests = \'{"daily":{"quests":[{"id":7}]}}\'',
        "quests",
        '{"id":7}',
        '{"id":"q","title":"t","progress":1,"target":5,"reward":{},"activityPoints":20,"isClaimed":false}',
        "(select string_agg(q.id || q.progress, ',') from user_quests q where user_id = users.id)",
        "q1",
    ),
}


BAG = '[{"id":"b","name":"검","type":"material","quantity":3}]'


@pytest.mark.parametrize("case", DECIDED)
def test_a_value_that_was_decided_takes_the_place_of_the_original_alone(
    fenced_database: Database, tmp_path: Path, case: str
) -> None:
    change, name, _original, text, query, expected = DECIDED[case]
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    sqlite(source, f"UPDATE users SET {change} WHERE rowid = 2")
    load(fenced_database, source)
    kept_bytes, (number,) = originals(fenced_database), numbers(fenced_database, name)
    moved_file = tmp_path / "moved.db"
    moved_file.write_bytes(source.read_bytes())
    moved(moved_file)

    dry = replay(fenced_database, decided=Decided(number, text), dry_run=True)
    assert [one.outcome for one in dry.values] == ["loaded"]
    assert transfer.prove(source, fenced_database.owner).mismatches == 0, "a dry run changes nothing"
    done = replay(fenced_database, decided=Decided(number, text))

    assert ([one.outcome for one in done.values], done.verdict) == (["loaded"], "pass")
    assert column(fenced_database, f"select {query} from users where id = '{done.values[0].player}'") == [expected]
    assert originals(fenced_database) == kept_bytes
    assert column(fenced_database, "select replacement from quarantine") == [text.encode()]
    assert column(fenced_database, "select held from users where held") == []
    assert transfer.prove(source, fenced_database.owner).named == (f"users row 2, {name}",)
    carried = transfer.write_back(fenced_database.owner, moved_file, pass_token=PASS)
    assert (carried.players, carried.cells) == (1, 1)
    with pytest.raises(Refusal, match="the number of a value that is kept"):
        replay(fenced_database, decided=Decided(number, text))
    assert replay(fenced_database).values == ()


@pytest.mark.parametrize("text", ["", "-1", "many", "1.5", "9" * 30])
def test_a_decided_value_that_can_not_be_read_is_refused_and_changes_nothing(
    fenced_database: Database, tmp_path: Path, text: str
) -> None:
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    sqlite(source, "UPDATE users SET gold = 'lots' WHERE rowid = 2")
    load(fenced_database, source)
    before = rows(fenced_database), kept(fenced_database)

    with pytest.raises(Refusal, match="a value that the game can read"):
        replay(fenced_database, decided=Decided(numbers(fenced_database, "gold")[0], text))

    assert (rows(fenced_database), kept(fenced_database)) == before


def test_rows_that_were_kept_whole_are_loaded_once_nothing_is_in_their_way(
    fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db", 6, anomalies=False)
    journal = str(CreateTable(file_journals.TABLES["player_openings"]).compile(dialect=sqlite_dialect()))
    sqlite(
        source,
        "CREATE TABLE copy AS SELECT * FROM users",
        "DROP TABLE users",
        "ALTER TABLE copy RENAME TO users",
        "UPDATE users SET nickname = (SELECT nickname FROM users WHERE rowid = 1) WHERE rowid = 4",
        "UPDATE users SET id = x'ff' WHERE rowid = 5",
        "UPDATE users SET gold = 'odd' WHERE rowid = 4",
        journal,
        "INSERT INTO sudamr_player_openings SELECT id, 5, 6, '{}' FROM users WHERE rowid = 4",
    )
    loaded = load(fenced_database, source)
    assert loaded.held == 2
    nickname, bad_id = numbers(fenced_database, "nickname")[0], numbers(fenced_database, "id")[0]
    assert {one.outcome for one in replay(fenced_database).values} == {"held", "aside"}
    first = "select nickname from users u join legacy_rows l on l.key = u.id and l.source = 'users' and l.position = 1"
    taken = str(column(fenced_database, first)[0])
    with pytest.raises(Refusal, match="another player has this nickname"):
        replay(fenced_database, decided=Decided(nickname, taken))

    done = replay(fenced_database, decided=Decided(nickname, "새 이름"))
    assert (done.verdict, done.values[0].outcome) == ("inconclusive", "loaded"), "its gold can't be read either"
    replay(fenced_database, decided=Decided(numbers(fenced_database, "gold")[0], "9"))
    done = replay(fenced_database, decided=Decided(bad_id, "new-id"))
    assert done.verdict == "pass"
    done = replay(fenced_database)

    assert [one.table for one in done.of("loaded")] == ["sudamr_player_openings"]
    assert column(fenced_database, "select count(*) from users") == [6]
    assert column(fenced_database, "select gold from player_openings") == [5]
    assert kept(fenced_database) == []
    assert sorted(transfer.prove(source, fenced_database.owner).named) == [
        "users row 4, gold",
        "users row 4, nickname",
        "users row 5, id",
    ]


PHASES = {
    "loading": ("loading", "fenced", "invoke cutover --env test"),
    "returned": ("returned", "moved", "the legacy file"),
    "a rollback under way": ("live", "fenced", "invoke rollback --env test"),
}


@pytest.mark.parametrize("state", PHASES)
def test_in_the_middle_of_a_move_it_is_refused(fenced_database: Database, state: str) -> None:
    phase, fence_state, remedy = PHASES[state]
    with ops.connect(fenced_database.owner) as conn:
        conn.execute("update ops.phase set phase = %s", (phase,))
        conn.execute("update ops.fence set state = %s", (fence_state,))

    with pytest.raises(Refusal) as caught:
        replay(fenced_database)

    assert remedy in caught.value.do


def test_two_at_once_are_refused_and_a_player_who_is_locked_too_long_stays_as_before(
    fenced_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    sqlite(source, "UPDATE users SET gold = 'lots' WHERE rowid = 2")
    load(fenced_database, source)
    with ops.lock(fenced_database.owner, run="other", why="transfer.replay"), pytest.raises(Refusal, match="the lock"):
        replay(fenced_database)
    decided = Decided(numbers(fenced_database, "gold")[0], "9")
    monkeypatch.setattr(replaying, "LOCK_TIMEOUT", "100ms")
    with ops.connect(fenced_database.owner) as conn, conn.transaction():
        conn.execute("select from users where held for update")
        with pytest.raises(Failure, match="one that another session holds"):
            replay(fenced_database, decided=decided)
    assert replay(fenced_database, decided=decided).verdict == "pass"


DEATHS = {
    "update users": "gold",
    "update quarantine": "gold",
    "insert action_receipts": "gold",
    "insert currency_ledger": "gold",
    "insert inventory_history": "inventory",
    "commit": "gold",
}
"""The statement at which the run dies, and the column of the value that it loads."""


@pytest.mark.parametrize("statement", DEATHS)
def test_a_run_that_dies_anywhere_leaves_the_player_as_before_or_loaded(
    fenced_database: Database, tmp_path: Path, statement: str
) -> None:
    """The server ends the session at the statement, as it does when the run is killed."""
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    sqlite(source, "UPDATE users SET gold = 'lots', inventory = '[{', equipment = NULL WHERE rowid = 2")
    load(fenced_database, source)
    with written_to(fenced_database.owner) as conn:
        conn.execute("insert into player_openings (user_id) select id from users where held")
    before = rows(fenced_database), kept(fenced_database)
    name = DEATHS[statement]
    decided = Decided(numbers(fenced_database, name)[0], {"gold": "9", "inventory": BAG}[name])
    with ops.connect(fenced_database.owner) as conn:
        event, _, table = statement.rpartition(" ") if statement != "commit" else ("update", "", "quarantine")
        conn.execute(
            "create function ops.dies() returns trigger language plpgsql as $$ begin perform"
            " pg_terminate_backend(pg_backend_pid()); return null; end $$"
        )
        deferred = "constraint trigger dies after {} on {} deferrable initially deferred for each row"
        kind = deferred if statement == "commit" else "trigger dies after {} on {} for each row"
        conn.execute(f"create {kind.format(event, table)} execute function ops.dies()".encode())

    with pytest.raises(Failure, match="Postgres to answer throughout"):
        replay(fenced_database, decided=decided)

    assert (rows(fenced_database), kept(fenced_database)) == before
    with ops.connect(fenced_database.owner) as conn:
        conn.execute(f"drop trigger dies on {table}".encode())
    done = replay(fenced_database, decided=decided).values
    assert [one.outcome for one in done if one.n == decided.n] == ["loaded"]
    assert column(fenced_database, "select gold::text || stock from player_openings") == ["0{}"]
    lines = column(
        fenced_database,
        "select concat(currency, amount, reason, balance) from currency_ledger"
        " union all select concat(item_id, delta, action, stock) from inventory_history",
    )
    assert lines == {"gold": ["gold9adjustment9"], "inventory": ["b3adjust3"]}[name]
    assert column(fenced_database, "select request_id from action_receipts") == ["load_quarantined replay-1 1"]


def test_after_the_move_a_held_player_plays_and_a_rollback_brings_all_of_it_back(
    server: Server, tmp_path: Path
) -> None:
    with quiet_world(server, tmp_path) as world, closing(PostgresStore(world.env.target)) as store:
        player, kind = world.unfinished[0]
        world.write_to_legacy(f"UPDATE users SET gold = 'lots' WHERE id = '{player}'")
        world.cutover()
        with pytest.raises(Refused, match="player_held"):
            finish(store, player, kind)
        number = int(str(value(world.owner, "select n from quarantine where column_name = 'gold'")))
        value_file = tmp_path / "gold"
        value_file.write_text("1200\n")
        wish = replays.ReplayOptions(number=number, value=str(value_file))

        done = replays.run(world.env, wish, Silent(), lambda: None)

        assert (done.phase, done.verdict) == ("live", "pass")
        finish(store, player, kind)
        assert world.rollback().verdict == "returned"
        assert world.legacy_fence() == "open"
        with closing(sqlite3.connect(world.env.legacy.path)) as file:
            query = "SELECT typeof(gold), gold FROM users WHERE id = ?"
            assert file.execute(query, (player,)).fetchone() == ("integer", 1200)
            query = "SELECT count(*) FROM sudamr_action_receipts WHERE user_id = ?"
            assert file.execute(query, (player,)).fetchone() == (1,)
        with pytest.raises(Refusal, match="players who went back to SQLite"):
            replays.run(world.env, wish, Silent(), lambda: None)


def finish(store: PostgresStore, player: str, kind: str) -> None:
    """The player finishes a tournament."""
    request = Request(player, "finish", FinishTournament(kind))  # type: ignore[arg-type]  # one of three words
    dispatch(store, request, clock=lambda: 1_800_000_000_000, chance=lambda request_id: Chance("dice", request_id))
