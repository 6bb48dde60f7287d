"""The chain of receipts: what is hashed, and that both stores number alike."""

from __future__ import annotations

import pytest

from db.samples import builders
from game.chain import Head, following
from game.rows import Record, Rows
from game.rules.commands import ClaimMail, Command, Enhance, Equip
from harness.play import invariants
from tests.fixtures.numbered import GIVEN
from tests.game.places import Place
from tests.game.playing_on_stores import ask

OPENING: Record = {"user_id": "hana", "gold": 5, "diamonds": 0, "stock": "{}"}
RECEIPT: Record = {"user_id": "hana", "request_id": "r1", "command": '{"a":1}', "outcome": '{"금화":7}', "at": 1700}
LEDGER: list[Record] = [
    {"n": 1, "currency": "gold", "amount": 7, "reason": "mail", "balance": 12},
    {"n": 2, "currency": "gold", "amount": -2, "reason": "sale", "balance": 10},
]
HISTORY: list[Record] = [{"n": 1, "action": "gain", "item_id": "i1", "delta": 1, "stock": 1}]
FIRST = "ec8ea63bd382734cf725c4167353a0badb76c3371d6a9ac97a9600368ef457b0"
SECOND = "6b214eb3fc172df7b82a80b9d5c6f86c212c7a5f9cd049ddcb55ed57258fdbf0"
COMMANDS: tuple[Command, ...] = (ClaimMail("m1"), Equip("fan"), Enhance("fan"))


def test_the_digest_is_the_one_that_receipts_bear() -> None:
    """A digest that changes would break the chain of every player: these two were recorded."""
    first = following(Head(), OPENING, RECEIPT, LEDGER, HISTORY)
    assert first == Head(1, FIRST)
    assert following(first, OPENING, RECEIPT | {"request_id": "r2"}, [], []) == Head(2, SECOND)


@pytest.mark.parametrize("column", ["gold", "diamonds", "stock", "user_id"])
def test_the_first_chain_follows_from_the_opening(column: str) -> None:
    assert following(Head(), OPENING | {column: "9"}, RECEIPT, LEDGER, HISTORY).chain != FIRST


@pytest.mark.parametrize("column", ["user_id", "request_id", "command", "outcome", "at"])
def test_each_column_of_a_receipt_is_in_its_chain(column: str) -> None:
    assert following(Head(), OPENING, RECEIPT | {column: "9"}, LEDGER, HISTORY).chain != FIRST


@pytest.mark.parametrize("column", ["n", "currency", "amount", "reason", "balance"])
def test_each_column_of_the_ledger_is_in_the_chain(column: str) -> None:
    changed = [LEDGER[0], LEDGER[1] | {column: 9}]
    assert following(Head(), OPENING, RECEIPT, changed, HISTORY).chain != FIRST


@pytest.mark.parametrize("column", ["n", "action", "item_id", "delta", "stock"])
def test_each_column_of_the_history_is_in_the_chain(column: str) -> None:
    assert following(Head(), OPENING, RECEIPT, LEDGER, [HISTORY[0] | {column: 9}]).chain != FIRST


def test_the_order_in_which_lines_are_read_does_not_matter_and_where_one_ends_does() -> None:
    assert following(Head(), OPENING, RECEIPT, LEDGER[::-1], HISTORY).chain == FIRST
    moved = RECEIPT | {"command": '{"a":1}{', "outcome": '"금화":7}'}
    assert following(Head(), OPENING, moved, LEDGER, HISTORY).chain != FIRST


def test_a_player_s_receipts_are_one_chain_on_either_store(place: Place) -> None:
    place.put(builders.player("hana", **GIVEN))
    for number, command in enumerate(COMMANDS):
        ask(place.store, command, f"r{number}")
    ask(place.store, COMMANDS[0], "r0")
    rows = place.store.read("hana") or Rows()
    assert [record["seq"] for record in by_number(rows)] == [1, 2, 3]
    assert invariants.breaches(rows) == []


@pytest.mark.parametrize("column", ["seq", "chain"])
def test_a_number_or_a_chain_that_does_not_follow_is_named(place: Place, column: str) -> None:
    place.put(builders.player("hana", **GIVEN))
    ask(place.store, COMMANDS[0], "r0")
    rows = place.store.read("hana") or Rows()
    by_number(rows)[0][column] = 2 if column == "seq" else "0" * 64
    assert [breach.law for breach in invariants.breaches(rows)] == [
        "number of r0" if column == "seq" else "chain at r0"
    ]


def by_number(rows: Rows) -> list[Record]:
    return sorted(rows["action_receipts"].values(), key=lambda record: int(str(record["seq"])))
