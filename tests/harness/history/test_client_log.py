"""A client's log has the instants that real time is judged by, and keeps every answer that contradicts another."""

from __future__ import annotations

from functools import partial
from itertools import count

import pytest

from harness.history.client_log import ClientLog, ClientRequest


@pytest.fixture
def log() -> ClientLog:
    """A log whose instants are 1, 2, 3 …"""
    return ClientLog(clock=partial(next, count(1)))


def only(log: ClientLog) -> ClientRequest:
    (request,) = log
    return request


def test_a_retry_is_the_same_request_from_its_first_send_to_its_first_grant(log: ClientLog) -> None:
    for _ in range(2):
        log.sending("hana", "r1", "equip", {"item": "fan"})
    log.granted("hana", "r1", {"slot": "fan"})
    log.sending("hana", "r1", "equip", {"item": "fan"})
    log.granted("hana", "r1", {"slot": "fan"})
    request = only(log)
    assert (request.key, request.sent, request.answered) == (("hana", "r1"), 1, 2)
    assert (request.sends, request.answers, request.contradictions) == (3, 2, [])


def test_what_was_sent_and_not_answered_is_open(log: ClientLog) -> None:
    log.sending("hana", "r1", "equip", {"item": "fan"})
    assert only(log).is_open
    log.granted("hana", "r1", {})
    assert not only(log).is_open


def test_a_refusal_leaves_it_open_while_another_send_of_it_has_no_answer(log: ClientLog) -> None:
    for _ in range(2):
        log.sending("hana", "r1", "equip", {"item": "fan"})
    log.refused("hana", "r1", "already_worn")
    assert only(log).is_open
    log.refused("hana", "r1", "already_worn")
    assert not only(log).is_open


def test_a_grant_after_a_refusal_is_what_counts(log: ClientLog) -> None:
    for _ in range(2):
        log.sending("hana", "r1", "equip", {"item": "fan"})
    log.refused("hana", "r1", "level_too_low")
    log.granted("hana", "r1", {"slot": "fan"})
    assert (only(log).answered, only(log).outcome, only(log).contradictions) == (3, {"slot": "fan"}, [])


def test_answers_that_contradict_each_other_are_kept(log: ClientLog) -> None:
    for _ in range(3):
        log.sending("hana", "r1", "claim_mail", {"mail": "m1"})
    log.granted("hana", "r1", {"gold": 5})
    log.granted("hana", "r1", {"gold": 6})
    log.refused("hana", "r1", "already_claimed")
    assert only(log).contradictions == [
        "answered {'gold': 5}, then {'gold': 6}",
        "granted once, then refused: already_claimed",
    ]


def test_two_players_may_use_one_id(log: ClientLog) -> None:
    log.sending("hana", "r1", "equip", {"item": "fan"})
    log.sending("duri", "r1", "equip", {"item": "fan"})
    assert [request.key for request in log] == [("hana", "r1"), ("duri", "r1")]
