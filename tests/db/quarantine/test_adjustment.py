"""What a replay loads once the journals have begun is a receipt of the player's chain, on both stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from db import ops, transfer
from db.console.output import outcome
from db.console.progress import Silent
from db.ops import Phase
from db.quarantine.results import Adjustment, Decided, Replay
from db.servers import Server
from game import idempotency, tables
from game.dispatch import Request, dispatch
from game.legacy import fence as legacy_fence
from game.legacy import numbering, sqlite_values
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore
from game.rows import Rows
from game.rules.chance import Chance
from game.rules.commands import Command, FinishTournament, SavePreset, SellItem
from game.service.bodies import IdempotencyKey
from game.unit_of_work import Store
from harness.cli.commands import replays
from harness.databases import Database
from harness.history.checking import Draws, PlayerHistory, check
from harness.history.client_log import ClientLog
from harness.history.violations import ViolationKind
from harness.laws import laws
from harness.play.invariants import breaches
from tests.db.cutover.cutover_world import quiet_world
from tests.db.quarantine.replays import column, playing, replay, rows
from tests.db.transfer.transferring import PASS, give_pass, load, moved, seeded, sqlite, value, written_to

NOON_MS = 1_800_000_000_000
JOURNALS = tuple(table.name for table in tables.JOURNALS)
ITEM = '{"id":"%s","name":"하급 강화석","type":"material","quantity":%s}'
BAG = f"[{ITEM % ('a', 4)},{ITEM % ('b', 5)}]"


def chance(request_id: str) -> Chance:
    return Chance("dice", request_id)


def play(store: Store, player: str, request_id: str, command: Command, log: ClientLog | None = None) -> None:
    if log is not None:
        log.sending(player, request_id, command.action, json.loads(command.body())[1])
    answer = dispatch(store, Request(player, request_id, command), clock=lambda: NOON_MS, chance=chance)
    if log is not None:
        log.granted(player, request_id, answer.outcome)


def read(store: Store, player: str) -> Rows:
    result = store.read(player)
    assert result is not None
    return result


@dataclass(frozen=True)
class Begun:
    """A player on Postgres whose gold and bag could not be read, and who has played since."""

    database: Database
    source: Path
    store: PostgresStore
    player: str
    log: ClientLog

    def decide(self, name: str, text: str) -> Replay:
        query = f"select n from quarantine where column_name = '{name}' and loaded_by is null"
        (number,) = column(self.database, query)
        (done,) = (one for one in replay(self.database, decided=Decided(int(str(number)), text)).values if not one.why)
        return done

    def play(self, request_id: str, command: Command) -> None:
        play(self.store, self.player, request_id, command, self.log)

    def lines(self) -> list[object]:
        return column(
            self.database,
            "select concat_ws(' ', currency, amount, reason, balance) from currency_ledger where reason = 'adjustment'"
            " union all select concat_ws(' ', item_id, delta, action, stock) from inventory_history"
            " where action = 'adjust' order by 1",
        )


@pytest.fixture
def begun(fenced_database: Database, tmp_path: Path) -> Iterator[Begun]:
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    sqlite(source, "UPDATE users SET gold = 'lots', inventory = '[{', equipment = NULL WHERE rowid = 2")
    load(fenced_database, source)
    player = str(column(fenced_database, "select id from users where held")[0])
    with closing(playing(fenced_database)) as store:
        with written_to(fenced_database.owner) as conn:  # An operator lets the player play with what can be read.
            conn.execute("update users set held = false")
        one = Begun(fenced_database, source, store, player, ClientLog())
        one.play("r1", SavePreset("first"))
        yield one


def test_the_opening_stays_and_the_receipt_says_what_came(begun: Begun) -> None:
    openings = rows(begun.database, "player_openings")

    gold = begun.decide("gold", "1200")
    begun.play("r2", SavePreset("second"))
    bag = begun.decide("inventory", BAG)

    assert gold.adjustment == Adjustment("load_quarantined replay-1 2", {"gold": 1200}, {})
    assert bag.adjustment == Adjustment("load_quarantined replay-1 4", {}, {"a": 4, "b": 5})
    assert begun.lines() == ["a 4 adjust 4", "b 5 adjust 5", "gold 1200 adjustment 1200"]
    assert rows(begun.database, "player_openings") == openings
    now = read(begun.store, begun.player)
    first = now["action_receipts"][begun.player, gold.adjustment.receipt]
    assert json.loads(str(first["command"])) == ["load_quarantined", {"numbers": [gold.n]}]
    assert json.loads(str(first["outcome"])) == {"rows": {"users": [{"id": begun.player, "gold": 1200}]}, "gone": {}}
    begun.play("r3", SellItem("b", 1))
    assert (
        breaches(read(begun.store, begun.player), ["r1", gold.adjustment.receipt, "r2", bag.adjustment.receipt]) == []
    )


def test_the_laws_and_the_history_go_on_over_it(begun: Begun) -> None:
    start = read(begun.store, begun.player)
    begun.decide("gold", "1200")
    begun.play("r2", SavePreset("second"))
    begun.decide("inventory", BAG)
    begun.play("r3", SellItem("b", 1))
    now = read(begun.store, begun.player)

    log = [request for request in begun.log if request.id != "r1"]
    assert list(laws.breaches(start, now)) == []
    assert check(log, [PlayerHistory(begun.player, start, now)], Draws(chance)).violations == ()
    for table, key, name in (("users", (begun.player,), "gold"), ("user_inventory", (begun.player, "a"), "quantity")):
        forged = now.copy()
        forged[table][key][name] = 7
        assert [breach.found for breach in laws.breaches(start, forged)] == ["7"]
        assert check(log, [PlayerHistory(begun.player, start, forged)], Draws(chance)).violations


def test_back_on_the_file_and_on_postgres_again_it_is_the_same_chain(begun: Begun) -> None:
    file = moved(begun.source)
    begun.decide("gold", "1200")
    begun.decide("inventory", BAG)
    begun.play("r2", SellItem("b", 1))
    before = read(begun.store, begun.player)
    (head,) = column(begun.database, f"select seq || chain from users where id = '{begun.player}'")

    transfer.write_back(begun.database.owner, file, pass_token=PASS)
    with closing(sqlite_values.connect(file)) as connection:
        legacy_fence.lift(connection)
    with closing(LegacyStore(file)) as store:
        on_file = read(store, begun.player)
        assert breaches(on_file) == []
        assert {name: on_file[name] for name in JOURNALS} == {name: before[name] for name in JOURNALS}
        with closing(sqlite_values.connect(file, readonly=True)) as connection:
            newest = numbering.head(connection, begun.player)
        assert f"{newest.seq}{newest.chain}" == head
        play(store, begun.player, "r3", SellItem("a", 1))
        on_file = read(store, begun.player)
        assert breaches(on_file) == []

    with ops.connect(begun.database.owner) as conn:
        conn.execute("update ops.phase set phase = %s", (Phase.RETURNED,))
    give_pass(begun.database)
    transfer.clear(begun.database.owner, pass_token=PASS)
    load(begun.database, file)
    assert transfer.prove(file, begun.database.owner).mismatches == 0
    again = read(begun.store, begun.player)
    assert breaches(again) == []
    assert {name: again[name] for name in JOURNALS} == {name: on_file[name] for name in JOURNALS}


def test_what_the_journals_of_the_file_have_is_not_added_again(begun: Begun) -> None:
    """Of a bag that came with its journals, opening and history have an item already while it can't be read."""
    with written_to(begun.database.owner) as conn:
        conn.execute("""update player_openings set stock = '{"a": 4, "b": 2}'""")

    bag = begun.decide("inventory", BAG)

    assert bag.adjustment == Adjustment("load_quarantined replay-1 2", {}, {"b": 3})
    assert begun.lines() == ["b 3 adjust 5"]


def test_where_they_have_all_of_it_there_is_no_receipt(begun: Begun) -> None:
    with written_to(begun.database.owner) as conn:
        conn.execute("""update player_openings set stock = '{"a": 4, "b": 5}'""")
    before = rows(begun.database, *JOURNALS)

    bag = begun.decide("inventory", BAG)

    assert (bag.outcome, bag.adjustment) == ("loaded", None)
    assert rows(begun.database, *JOURNALS) == before


def test_no_client_can_ask_under_the_id_of_such_a_receipt(begun: Begun) -> None:
    adjustment = begun.decide("gold", "1200").adjustment
    assert adjustment is not None
    keys = TypeAdapter(IdempotencyKey)
    assert [keys.validate_python(key) for key in ("r1", '"r1"')] == ["r1", '"r1"']
    for form in (*idempotency.forms(adjustment.receipt), f'"{adjustment.receipt}"'):
        with pytest.raises(ValidationError):
            keys.validate_python(form)


def test_a_load_that_tells_no_rows_is_no_load_by_the_rules(begun: Begun) -> None:
    start = read(begun.store, begun.player)
    adjustment = begun.decide("gold", "1200").adjustment
    assert adjustment is not None
    now = read(begun.store, begun.player)
    now["action_receipts"][begun.player, adjustment.receipt]["outcome"] = "{}"

    log = [request for request in begun.log if request.id != "r1"]
    judged = check(log, [PlayerHistory(begun.player, start, now)], Draws(chance))

    assert judged.kinds == {ViolationKind.CHAIN, ViolationKind.NOT_BY_THE_RULES}


def test_the_screen_says_what_was_added(begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    number = int(str(value(begun.database.owner, "select n from quarantine where column_name = 'gold'")))
    with outcome(None) as out:
        replays.show(replay(begun.database, decided=Decided(number, "1200")), "test", out)
    assert "     added to the journals: gold +1,200\n" in capsys.readouterr().out


def test_over_a_rollback_and_a_second_cutover_the_chain_goes_on(server: Server, tmp_path: Path) -> None:
    with quiet_world(server, tmp_path) as world, closing(PostgresStore(world.env.target)) as store:
        player, kind = world.unfinished[0]
        world.write_to_legacy(f"UPDATE users SET gold = 'lots' WHERE id = '{player}'")
        world.cutover()
        with written_to(world.owner) as conn:
            conn.execute("update users set held = false where id = %s", (player,))
        play(store, player, "r1", SavePreset("first"))
        number = int(str(value(world.owner, "select n from quarantine where column_name = 'gold'")))
        decided = tmp_path / "gold"
        decided.write_text("1200\n")
        replays.run(world.env, replays.ReplayOptions(number=number, value=str(decided)), Silent(), lambda: None)
        play(store, player, "r2", FinishTournament(kind))  # type: ignore[arg-type]  # one of three words
        before = read(store, player)
        assert (len(before["action_receipts"]), breaches(before)) == (3, [])

        assert world.rollback().verdict == "returned"
        with closing(LegacyStore(world.env.legacy.path)) as file:
            on_file = read(file, player)
            assert {name: on_file[name] for name in JOURNALS} == {name: before[name] for name in JOURNALS}
            assert breaches(on_file) == []
            play(file, player, "r3", SavePreset("second"))
        assert world.cutover().verdict == "live"

        again = read(store, player)
        assert breaches(again) == []
        assert again["action_receipts"].keys() - before["action_receipts"].keys() == {(player, "r3")}
        play(store, player, "r4", SavePreset("third"))
        assert breaches(read(store, player)) == []
