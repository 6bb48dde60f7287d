"""Thousands of mails claimed at once: one transaction on either store, however many statements it takes."""

from __future__ import annotations

import time

import pytest

from db.samples import builders
from game.errors import TryAgain
from game.postgres.statements import MOST_ROWS, SavePart, batches
from game.postgres.store import PostgresUnit
from game.rows import Rows, compare
from game.rules.commands import ClaimAllMail
from harness.play import invariants
from tests.game.places import Place, PostgresPlace
from tests.game.playing_on_stores import ask
from tests.game.rules.playing import play

MAILS = 5000
STONE = "하급 강화석"


def a_full_mailbox(mails: int = MAILS) -> Rows:
    mail = {f"m{n}": {"gold": 3, "diamonds": 1, "items": {STONE: 1}} for n in range(mails)}
    return builders.player("hana", mail=mail, places={"material": 100}, bag={"stone": {"name": STONE, "quantity": 7}})


def test_five_thousand_mails_are_claimed_at_once(place: Place) -> None:
    place.put(a_full_mailbox())
    answer = ask(place.store, ClaimAllMail())
    assert len(answer.outcome["mails"]) == MAILS  # type: ignore[arg-type]  # a list
    rows = place.store.read("hana")
    assert rows is not None
    assert invariants.breaches(rows, ["r1"]) == []
    (user,) = rows["users"].values()
    assert (user["gold"], user["diamonds"]) == (3 * MAILS, MAILS)
    assert sum(int(item["quantity"] or 0) for item in rows["user_inventory"].values()) == 7 + MAILS
    assert all(mail["claimed"] for mail in rows["user_mail"].values())
    assert len(rows["currency_ledger"]) == 2 * MAILS


def test_a_claim_that_fails_between_its_statements_leaves_nothing(
    postgres: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.put(a_full_mailbox(2 * MOST_ROWS))
    before = postgres.store.read("hana")
    write, statements = PostgresUnit._execute, 0

    def fail_late(unit: PostgresUnit, parts: list[SavePart]) -> None:
        nonlocal statements
        statements += 1
        if statements == 3:
            raise TryAgain("db_unreachable", "the connection was lost")
        write(unit, parts)

    monkeypatch.setattr(PostgresUnit, "_execute", fail_late)
    with postgres.store.begin() as unit:
        loaded = unit.load("hana", "r1", ClaimAllMail.tables)
        assert loaded is not None
        after = play(loaded.rows, ClaimAllMail()).rows
        with pytest.raises(TryAgain):
            unit.save(loaded.rows, after)
    assert before is not None
    assert compare(before, postgres.store.read("hana") or Rows()) == {}


def test_an_ordinary_change_is_one_statement_and_a_large_one_is_cut_in_order() -> None:
    updates = [SavePart.update("user_mail", ("hana", f"m{n}"), {"claimed": True}) for n in range(MOST_ROWS + 1)]
    lines = SavePart.insert("user_stages", [{"user_id": "hana", "stage": f"s{n}"} for n in range(MOST_ROWS)])
    assert list(batches([])) == []
    assert list(batches(updates[:-1])) == [updates[:-1]]
    assert list(batches([*updates, lines])) == [updates[:-1], updates[-1:], [lines]]


def test_a_claim_of_many_mails_takes_time_by_their_number_alone() -> None:
    """Ten times the mails, each with an item of its own, in not much more than ten times as long."""

    def seconds(mails: int) -> float:
        mail = {f"m{n}": {"items": {"새싹 바둑판": 1}} for n in range(mails)}
        rows = builders.player("hana", mail=mail, places={"equipment": mails})
        began = time.process_time()
        play(rows, ClaimAllMail())
        return time.process_time() - began

    assert seconds(5000) < 40 * max(seconds(500), 0.01)


@pytest.mark.parametrize("mails", [full + beyond for full in (MOST_ROWS, 2 * MOST_ROWS) for beyond in (-1, 0, 1)])
def test_a_save_of_exactly_a_statements_rows_writes_them_all(place: Place, mails: int) -> None:
    place.put(builders.player("hana", mail={f"m{n}": {"gold": 1} for n in range(mails)}))
    ask(place.store, ClaimAllMail())
    rows = place.store.read("hana")
    assert rows is not None
    assert all(mail["claimed"] for mail in rows["user_mail"].values())
    assert rows["users"]["hana",]["gold"] == mails
    assert len(rows["currency_ledger"]) == mails
    assert invariants.breaches(rows, ["r1"]) == []
