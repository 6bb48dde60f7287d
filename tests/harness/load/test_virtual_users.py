"""Clients keep what is unanswered, and notice every answer that should not be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.errors import Inconclusive
from harness.load import virtual_users
from harness.load.virtual_users import VirtualUsers
from tests.harness.load.fake_service import Answer, FakeService, served

PLANS = {f"player-{n}": [("claim_mail", {"mail": f"m{m}"}) for m in range(8)] for n in range(6)}


def granted(replayed: bool, gold: int = 5) -> Answer:
    return 200, {"outcome": {"gold": gold}, "replayed": replayed}


def played(rule: Callable[[str, int], Answer], requests: int = 40) -> tuple[FakeService, virtual_users.AnswerLog]:
    service = FakeService(rule)
    with served(service) as url, VirtualUsers([url], PLANS, token_of=str.upper, clients=3) as users:
        users.play(requests)
    return service, users.answers


@pytest.fixture(autouse=True)
def nobody_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is allowed is what is answered; one test is about those who forget."""
    monkeypatch.setattr(virtual_users, "FORGETTING", 0.0)


def contradictions(answers: virtual_users.AnswerLog) -> list[str]:
    return [line for request in answers.requests for line in request.contradictions]


def test_every_request_that_is_allowed_is_asked_once_and_remembered() -> None:
    service, answers = played(lambda _key, times: granted(replayed=times > 1))
    assert len(answers.requests.grants) == 40
    assert answers.requests.refusals == []
    assert answers.wrong == []
    assert {request.key for request in answers.requests} == set(service.asked)
    assert all(request.answered and request.sent < request.answered for request in answers.requests.grants)


def test_unanswered_requests_are_asked_again_under_the_same_key_with_the_same_body() -> None:
    def rule(_key: str, times: int) -> Answer:
        return (
            [(503, {"code": "fenced"}), None, granted(replayed=False)][min(times, 3) - 1]
            if times < 4
            else granted(True)
        )

    service, answers = played(rule, 20)
    assert len(answers.requests.grants) == 20
    assert answers.wrong == []
    assert all(service.asked[request.key] >= 3 for request in answers.requests.grants)
    assert all(len(bodies) == 1 for bodies in service.bodies.values())
    assert answers.retried >= 40
    assert answers.freeze(since=0.0) > 0


def test_a_refusal_by_the_rules_is_an_answer() -> None:
    service, answers = played(lambda _key, _times: (409, {"code": "already_claimed"}), 10)
    assert {request.refused for request in answers.requests.refusals} == {"already_claimed"}
    assert len(answers.requests.refusals) == 10
    assert answers.wrong == []
    assert max(service.asked.values()) <= 2  # once more where the first connection was closed before the answer


def test_some_answers_are_never_read_and_some_requests_are_asked_again_though_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(virtual_users, "GOING_AWAY", 1.0)
    monkeypatch.setattr(virtual_users, "ASKING_AGAIN", 1.0)
    service, answers = played(lambda _key, times: granted(replayed=times > 1), 10)
    assert answers.dropped == 10
    assert sum(service.asked.values()) >= 30
    assert answers.wrong == []


def test_some_go_away_and_never_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_users, "GOING_AWAY", 1.0)
    monkeypatch.setattr(virtual_users, "FORGETTING", 1.0)
    _, answers = played(lambda _key, times: granted(replayed=times > 1), 10)
    assert (answers.dropped, answers.retried, answers.requests.grants) == (10, 0, [])
    assert [request.is_open for request in answers.requests] == [True] * 10


def test_an_outcome_that_changes_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_users, "ASKING_AGAIN", 1.0)
    _, answers = played(lambda _key, times: granted(replayed=times > 1, gold=times), 5)
    assert any("then {'gold'" in line for line in contradictions(answers))


def test_a_request_carried_out_again_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_users, "ASKING_AGAIN", 1.0)
    _, answers = played(lambda _key, _times: granted(replayed=False), 5)
    assert any("carried out again" in line for line in answers.wrong)


def test_a_grant_that_is_refused_later_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_users, "GOING_AWAY", 0.0)
    monkeypatch.setattr(virtual_users, "ASKING_AGAIN", 1.0)
    _, answers = played(lambda _key, times: granted(False) if times == 1 else (409, {"code": "already_claimed"}), 5)
    assert any("granted once, then refused" in line for line in contradictions(answers))


def test_an_error_of_the_service_is_wrong_and_asked_again() -> None:
    _, answers = played(lambda _key, times: (500, {}) if times == 1 else granted(replayed=times > 2), 5)
    assert len(answers.requests.grants) == 5
    assert any("status 500" in line for line in answers.wrong)


def test_a_service_that_never_answers_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_users, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(Inconclusive, match="every request answered"):
        played(lambda _key, _times: (503, {}), 3)


def test_no_more_is_played_than_is_planned() -> None:
    _, answers = played(lambda _key, times: granted(replayed=times > 1), 1000)
    assert len(answers.requests.grants) == sum(map(len, PLANS.values()))


def test_a_grant_that_tells_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_users, "GOING_AWAY", 0.0)
    _, answers = played(lambda _key, times: (200, {"replayed": False}) if times == 1 else granted(replayed=False), 3)
    assert len(answers.requests.grants) == 3
    assert any("status 200" in line for line in answers.wrong)
