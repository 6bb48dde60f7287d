"""The mailbox as a whole: all that waits at once, and what may be thrown away."""

from __future__ import annotations

import pytest

from game.rules.chance import new_id
from game.rules.commands import ClaimAllMail, ClaimMail, DeleteMail
from tests.game.records import hana, with_user
from tests.game.rules.playing import play, refusal

ALL = ClaimAllMail()
LARGEST = 2**63 - 1


def test_all_mail_that_waits_is_claimed_at_once_in_its_order() -> None:
    mail = {
        "b": {"gold": 50, "items": {"골드 꾸러미1": 2}},
        "a": {"gold": 5, "diamonds": 3, "action_points": 4, "items": {"골드 꾸러미1": 1, "미사일": 1}},
    }
    rows = hana(mail=mail)
    rows["user_mail"] = dict(reversed(rows["user_mail"].items()))  # a store reads them in an order of its own
    played = play(rows, ALL)
    assert played.outcome == {
        "mails": ["b", "a"],
        "gold": 55,
        "diamonds": 3,
        "action_points": 4,
        "items": {"골드 꾸러미1": 3, "미사일": 1},
    }
    assert played.updated("user_mail") == {"b": {"claimed": (False, True)}, "a": {"claimed": (False, True)}}
    assert played.user == {"gold": (0, 55), "diamonds": (0, 3), "action_points": (30, 34)}
    assert played.ledger == [("gold", 50, "mail", 50), ("gold", 5, "mail", 55), ("diamonds", 3, "mail", 3)]
    assert played.history == [
        ("gain", new_id("r1", 1), 2, 2),
        ("gain", new_id("r1", 1), 1, 3),
        ("gain", new_id("r1", 2), 1, 1),
    ]


def test_mail_that_was_claimed_expired_or_carries_nothing_is_left_alone() -> None:
    mail = {
        "claimed": {"gold": 1, "claimed": True},
        "expired": {"gold": 2, "expires": 1000},
        "letter": {},
        "waits": {"gold": 4, "expires": 1001},
    }
    played = play(hana(mail=mail), ALL, now_ms=1000)
    assert played.outcome["mails"] == ["waits"]
    assert set(played.updated("user_mail")) == {"waits"}
    del mail["waits"]
    assert refusal(hana(mail=mail), ALL, now_ms=1000) == "nothing_to_claim"


def test_one_mail_that_does_not_fit_refuses_all() -> None:
    mail = {"fits": {"gold": 5}, "stones": {"items": {"하급 강화석": 1}}}
    assert refusal(hana(mail=mail, places={"material": 0}), ALL) == "bag_full"


def test_mail_that_carries_something_unclaimed_can_not_be_deleted() -> None:
    for carried in ({"gold": 1}, {"diamonds": 1}, {"action_points": 1}, {"items": {"미사일": 1}}):
        assert refusal(hana(mail={"m1": carried}), DeleteMail("m1")) == "mail_unclaimed"
        assert refusal(hana(mail={"m1": {**carried, "expires": 1}}), DeleteMail("m1"), now_ms=2) == "mail_unclaimed"
    assert refusal(hana(), DeleteMail("m1")) == "no_such_mail"


@pytest.mark.parametrize("mail", [{}, {"gold": 5, "claimed": True}])
def test_a_letter_and_claimed_mail_may_go(mail: dict[str, object]) -> None:
    played = play(hana(mail={"m1": mail, "m2": {}}), DeleteMail("m1"))
    assert played.outcome == {"mail": "m1"}
    assert list(played.changes) == ["user_mail"]
    assert list(played.changes["user_mail"].deletes) == [("hana", "m1")]


def test_more_items_than_a_bag_could_ever_hold_are_refused_before_any_is_made() -> None:
    rows = hana(mail={"m1": {"items": {"새싹 바둑판": 1}}})
    rows["user_mail"][("hana", "m1")]["items"] = f'[["새싹 바둑판",{LARGEST}]]'
    assert refusal(rows, ClaimMail("m1")) == "bag_full"


@pytest.mark.parametrize("column", ["gold", "diamonds", "action_points"])
def test_a_balance_never_grows_beyond_what_a_column_holds(column: str) -> None:
    rows = hana(mail={"m1": {column: 7}})
    assert play(with_user(rows, **{column: LARGEST - 7}), ClaimMail("m1")).user[column] == (LARGEST - 7, LARGEST)
    assert refusal(with_user(rows, **{column: LARGEST - 6}), ClaimMail("m1")) == "balance_too_high"
