"""A history in which nothing is wrong is found right, whatever was played: on both stores, and of many at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from db.samples import builders, seed
from game.dispatch import Request, dispatch
from game.errors import Refused
from game.legacy import draws, sqlite_values
from game.legacy.store import LegacyStore
from game.rules.commands import decode
from game.urls import LegacyUrl
from harness.history.checking import HistoryFigures
from harness.history.client_log import ClientLog
from harness.history.recording import HistoryRecorder, heads
from harness.load import scripts
from tests.fixtures.numbered import take_numbers_away
from tests.game.examples import EXAMPLES
from tests.game.places import LegacyPlace
from tests.harness.history.harming import Harmed, HarmedFile
from tests.harness.history.playing import CHANCE, EQUIP, HANA, NOON_MS, SAVE, START, Client, claim, violations

ENHANCED: dict[str, object] = {
    "gold": 50_000,
    "level": 30,
    "bag": {"fan": "푸른 바람 부채", "stone": {"name": "하급 강화석", "quantity": 100}},
}


@pytest.fixture
def file(tmp_path: Path) -> HarmedFile:
    place = LegacyPlace(tmp_path / "game.db")
    place.put(builders.player("hana", **HANA))
    return HarmedFile(place)


def test_every_action_is_carried_out_again_as_the_store_did(harmed: Harmed) -> None:
    for action, example in EXAMPLES.items():
        harmed.place.put(example.player(action))
    client = Client(harmed.place.store, *EXAMPLES)
    for action, example in EXAMPLES.items():
        assert client.ask("r1", (action, dict(example.fields)), player=action) == "granted", action
        client.ask("r2", SAVE, player=action)
    judged = client.judged()
    assert judged.violations == ()
    number = len(EXAMPLES)
    assert judged.figures == HistoryFigures(
        players=number, requests=2 * number, receipts=2 * number, real_time_pairs=number
    )


def test_one_whose_answer_nobody_got_is_there_whole_or_not_at_all(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"))
    client.ask("r2", claim("m2"), learns=False)
    client.ask("r3", claim("m3"), carried_out=False)
    client.play(r4=SAVE)
    judged = client.judged()
    assert judged.violations == ()
    assert (judged.figures.unknown, judged.figures.receipts, judged.figures.requests) == (2, 3, 4)
    assert judged.figures.real_time_pairs == 2, "r1 was answered before r2 and r4 were sent; r2 was never answered"


def test_a_refusal_has_no_receipt_and_may_be_granted_later(harmed: Harmed, client: Client) -> None:
    assert client.ask("r1", ("apply_preset", {"name": "today"})) == "no_such_preset"
    client.play(r2=SAVE, r1=("apply_preset", {"name": "today"}))
    judged = client.judged()
    assert judged.violations == ()
    assert (judged.figures.receipts, judged.figures.unknown) == (2, 0)


def test_a_request_that_was_refused_may_be_granted_by_its_other_copy(harmed: Harmed, client: Client) -> None:
    """One copy was refused at once, the other one lay on the way until the player had done something else."""
    apply = ("apply_preset", {"name": "today"})
    assert client.ask("r1", apply) == "no_such_preset"
    client.play(r2=SAVE)
    client.ask("r1", apply, learns=False)
    judged = client.judged()
    assert (judged.violations, judged.figures.unknown, judged.figures.receipts) == ((), 1, 2)


def test_what_was_there_before_is_counted_by_nobody_and_must_stay(harmed: Harmed) -> None:
    Client(harmed.place.store).play(before=claim("m1"))
    client = Client(harmed.place.store)
    client.play(r1=claim("m2"), r2=START)
    judged = client.judged()
    assert (judged.violations, judged.figures.receipts) == ((), 2)
    ledger = harmed.name_of("currency_ledger")
    harmed.execute(f"UPDATE {ledger} SET reason = 'quest' WHERE request_id = ?", "before")
    assert violations(client.judged())["there in part"] == {"before"}
    for table in (ledger, harmed.name_of("inventory_history"), harmed.name_of("action_receipts")):
        harmed.execute(f"DELETE FROM {table} WHERE request_id = ?", "before")
    assert "before" in violations(client.judged())["vanished whole"]


def test_receipts_that_an_earlier_version_did_not_number_get_theirs_in_between(file: HarmedFile) -> None:
    Client(file.place.store).play(before=claim("m1"), also=SAVE)
    take_numbers_away(file.place.path)
    client = Client(file.place.store)
    assert client.judged().violations == ()
    client.play(r1=claim("m2"))
    assert client.judged().violations == ()
    assert heads(LegacyUrl(file.place.path)) == {"hana": 3}


def test_draws_are_those_of_the_epoch_in_which_a_command_was_carried_out(tmp_path: Path) -> None:
    with closing(LegacyPlace(tmp_path / "game.db")) as place:
        place.put(builders.player("hana", **ENHANCED))
        client = Client(place.store)
        enhance = ("enhance", {"item": "fan"})
        client.play(r1=enhance, r2=enhance, r3=enhance)
        assert client.judged().violations == ()
        with closing(sqlite_values.connect(place.path)) as connection:
            draws.renew(connection)
        client.play(r4=enhance, r5=enhance)
        assert client.judged().violations == (), "each epoch that was seen counts"
        assert violations(Client(place.store).judged()) == {}


def test_a_player_who_is_gone_is_named(file: HarmedFile) -> None:
    client = Client(file.place.store)
    client.play(r1=claim("m1"))
    file.execute("DELETE FROM users WHERE id = ?", "hana")
    (violation,) = client.judged().violations
    assert (violation.kind, violation.request) == ("vanished whole", "")
    assert "with 1 requests" in violation.expected


def test_pairs_are_counted_for_each_switch_by_the_newest_numbers_there(file: HarmedFile) -> None:
    client = Client(file.place.store)
    client.play(r1=claim("m1"), r2=SAVE)
    client.switched({"hana": 2})
    client.play(r3=START)
    assert client.judged().across == (2,)
    client.switched({"hana": 3})
    client.play(r4=EQUIP, r5=claim("m2"))
    judged = client.judged()
    assert (judged.across, judged.figures.across_switch, judged.figures.real_time_pairs) == ((2, 2), 2, 10)


PLAYERS = 60
CLIENTS = 4


def test_many_players_at_once_are_judged_in_a_millisecond_or_two_a_receipt(tmp_path: Path) -> None:
    """Prints a line of figures: pytest -rP."""
    path = tmp_path / "game.db"
    seed.seed_legacy(path, 2 * PLAYERS, seed=3)
    planned = scripts.read(path, players=PLAYERS)
    log = ClientLog()
    with closing(LegacyStore(path)) as store:
        recorder = HistoryRecorder(store, planned, CHANCE)

        def play(mine: list[str]) -> None:
            for player in mine:
                for n, (action, fields) in enumerate(planned[player]):
                    _act(store, log, Request(player, f"r{n}", decode(action, fields)), fields)

        everybody = list(planned)
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(play, (everybody[n::CLIENTS] for n in range(CLIENTS))))
        began = time.monotonic()
        judged = recorder.judge(log, store)
        seconds = time.monotonic() - began
    figures = judged.figures
    print(f"figures | {figures.players} players | {figures.receipts} receipts | {seconds:.1f} s |")
    assert judged.violations == ()
    assert figures.players > PLAYERS / 2
    assert figures.receipts > 10 * figures.players
    assert figures.real_time_pairs > 10_000


def _act(store: LegacyStore, log: ClientLog, request: Request, fields: dict[str, object]) -> None:
    log.sending(request.player, request.request_id, request.command.action, fields)
    try:
        answer = dispatch(store, request, clock=lambda: NOON_MS, chance=CHANCE)
    except Refused as refusal:
        log.refused(request.player, request.request_id, refusal.code)
    else:
        log.granted(request.player, request.request_id, answer.outcome)
