"""One command, one transaction, once: on both stores."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest

from db.ops.fence import new_pass
from db.samples import builders
from game.dispatch import Request, dispatch, retry
from game.errors import Fenced, Moved, Refused, StoreUnavailable, TryAgain
from game.rows import Rows, compare
from game.rules.chance import Chance
from game.rules.commands import (
    ClaimMail,
    ClaimTournamentReward,
    Command,
    Convert,
    Enhance,
    Equip,
    FinishTournament,
    Unequip,
)
from harness.play import invariants
from tests.game.places import Place
from tests.game.playing_on_stores import NOON_MS, Failing, ask, lost

CLAIM = ClaimMail("m1")
HANA = {
    "gold": 5000,
    "diamonds": 7,
    "level": 30,
    "bag": {
        "fan": {"name": "푸른 바람 부채", "stars": 3},
        "fan2": "은결 바람 부채",
        "stone": {"name": "하급 강화석", "quantity": 60},
    },
    "worn": ["fan2"],
    "mail": {"m1": {"gold": 50, "items": {"골드 꾸러미1": 2, "새싹 바둑판": 1}}, "m2": {"diamonds": 3}},
    "tournaments": {"world": {"boxes": {"장비 상자 I": 2}}},
}
ALL: tuple[Command, ...] = (
    CLAIM,
    Equip("fan"),
    Enhance("fan"),
    Unequip("fan"),
    FinishTournament("world"),
    ClaimTournamentReward("world"),
    ClaimMail("m2"),
)


@pytest.fixture
def hana(place: Place) -> Place:
    place.put(builders.player("hana", **HANA))
    return place


def read(place: Place, player: str = "hana") -> Rows:
    rows = place.store.read(player)
    assert rows is not None
    return rows


def test_every_action_is_granted_and_adds_up(hana: Place) -> None:
    for n, command in enumerate(ALL):
        assert not ask(hana.store, command, f"r{n}").replayed
    rows = read(hana)
    assert invariants.breaches(rows, [f"r{n}" for n in range(len(ALL))]) == []
    assert [key[1] for key in sorted(rows["action_receipts"], key=str)] == [f"r{n}" for n in range(len(ALL))]


def test_a_receipt_keeps_the_command_its_outcome_and_its_instant(hana: Place) -> None:
    answer = ask(hana.store, CLAIM)
    (receipt,) = read(hana)["action_receipts"].values()
    assert receipt["command"] == '["claim_mail", {"mail": "m1"}]'
    assert json.loads(str(receipt["outcome"])) == answer.outcome
    assert receipt["at"] == NOON_MS


@pytest.mark.parametrize("command", ALL[:5], ids=lambda command: command.action)
def test_the_same_request_again_answers_the_same_and_changes_nothing(hana: Place, command: Command) -> None:
    if isinstance(command, Unequip):
        ask(hana.store, Equip("fan"), "r0")
    first = ask(hana.store, command)
    before = read(hana)
    again = ask(hana.store, command)
    assert (again.outcome, again.replayed) == (first.outcome, True)
    assert compare(before, read(hana)) == {}


def test_the_same_id_with_another_body_is_refused(hana: Place) -> None:
    ask(hana.store, Equip("fan"))
    for other in (Equip("fan2"), Unequip("fan"), CLAIM):
        with pytest.raises(Refused, match="request_reused"):
            ask(hana.store, other)


def test_two_players_may_use_one_request_id(hana: Place) -> None:
    hana.put(builders.player("dodo", **HANA))
    first, second = ask(hana.store, CLAIM), ask(hana.store, CLAIM, player="dodo")
    assert (first.replayed, second.replayed) == (False, False)
    assert invariants.breaches(read(hana, "dodo")) == []


def test_a_refusal_changes_nothing_and_leaves_no_receipt(hana: Place) -> None:
    before = read(hana)
    for command, code in ((ClaimMail("m9"), "no_such_mail"), (Equip("fan2"), "already_worn")):
        with pytest.raises(Refused, match=code):
            ask(hana.store, command)
    assert compare(before, read(hana)) == {}


def test_an_id_that_was_refused_may_be_granted_later(hana: Place) -> None:
    with pytest.raises(Refused, match="not_finished"):
        ask(hana.store, ClaimTournamentReward("world"), "r1")
    ask(hana.store, FinishTournament("world"), "r2")
    assert not ask(hana.store, ClaimTournamentReward("world"), "r1").replayed


def test_a_claim_that_does_not_fit_grants_nothing(place: Place) -> None:
    place.put(builders.player("hana", **{**HANA, "places": {"equipment": 2}}))
    before = read(place)
    with pytest.raises(Refused, match="bag_full"):
        ask(place.store, CLAIM)
    assert compare(before, read(place)) == {}


def test_nobody_and_a_held_player_are_refused(place: Place) -> None:
    rows = builders.player("hana", **HANA)
    rows["user_inventory"][("hana", "fan")]["quantity"] = -1 if place.store.engine == "legacy" else 1
    rows["users"][("hana",)]["held"] = True
    place.put(rows)
    with pytest.raises(Refused, match="player_held"):
        ask(place.store, CLAIM)
    with pytest.raises(Refused, match="no_such_player"):
        ask(place.store, CLAIM, player="nobody")
    assert place.store.read("nobody") is None


def test_the_opening_is_what_was_owned_before_the_first_granted_command(hana: Place) -> None:
    with pytest.raises(Refused):
        ask(hana.store, ClaimMail("m9"))
    assert read(hana)["player_openings"] == {}
    ask(hana.store, FinishTournament("world"), "r1")
    ask(hana.store, CLAIM, "r2")
    (opening,) = read(hana)["player_openings"].values()
    stock = json.loads(str(opening.pop("stock")))
    assert opening == {"user_id": "hana", "gold": 5000, "diamonds": 7}
    assert stock == {"fan": 1, "fan2": 1, "stone": 60}


@pytest.mark.parametrize("step", ["load", "save", "commit"])
def test_nothing_is_left_after_a_raise(hana: Place, step: str) -> None:
    before = read(hana)
    with pytest.raises(ZeroDivisionError):
        ask(Failing(hana.store, step, ZeroDivisionError()), CLAIM)
    assert compare(before, read(hana)) == {}
    assert not ask(hana.store, CLAIM).replayed


@pytest.mark.parametrize("step", ["load", "save", "commit"])
def test_a_failed_attempt_is_made_again_and_decides_alike(hana: Place, step: str) -> None:
    hana.put(builders.player("dodo", **HANA))
    failing = Failing(hana.store, step, lost(), times=3)
    slept: list[float] = []
    answer = ask(failing, Enhance("fan"), slept=slept)
    assert (answer.replayed, failing.attempts, len(slept)) == (False, 4, 3)
    assert slept == sorted(slept)
    assert sum(slept) < 0.5
    (receipt,) = read(hana)["action_receipts"].values()
    assert json.loads(str(receipt["outcome"])) == answer.outcome
    assert invariants.breaches(read(hana)) == []


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(hana: Place) -> None:
    failing = Failing(hana.store, "committed", lost())
    answer = ask(failing, CLAIM)
    assert (answer.replayed, failing.attempts) == (True, 2)
    assert read(hana)["users"][("hana",)]["gold"] == 5050
    assert len(read(hana)["action_receipts"]) == 1


def test_after_four_attempts_the_store_is_unavailable(hana: Place) -> None:
    before = read(hana)
    failing = Failing(hana.store, "save", lost(), times=9)
    with pytest.raises(StoreUnavailable, match=r"4 attempts failed, the last with db_unreachable"):
        ask(failing, CLAIM)
    assert failing.attempts == 4
    assert compare(before, read(hana)) == {}


@pytest.mark.parametrize("times", [0, 1, 3, 9])
def test_every_attempt_that_failed_for_now_is_told_with_its_number(times: int) -> None:
    failed = [lost() for _ in range(times)]
    told: list[tuple[TryAgain, int]] = []
    left = iter(failed)

    def act() -> str:
        if error := next(left, None):
            raise error
        return "done"

    with pytest.raises(StoreUnavailable) if times > 4 else nullcontext():
        assert retry(act, sleep=lambda _: None, notice=lambda error, number: told.append((error, number))) == "done"
    assert told == [(error, number) for number, error in enumerate(failed[:4], start=1)]


def test_what_is_no_failure_for_now_is_neither_told_nor_tried_again() -> None:
    told: list[int] = []

    def act() -> None:
        raise Refused("held")

    with pytest.raises(Refused):
        retry(act, sleep=lambda _: None, notice=lambda _, number: told.append(number))
    assert told == []


def test_a_fenced_store_answers_known_receipts_and_reads_and_nothing_else(hana: Place) -> None:
    first = ask(hana.store, CLAIM)
    hana.fence()
    before = read(hana)
    assert ask(hana.store, CLAIM).outcome == first.outcome
    with pytest.raises(Fenced):
        ask(hana.store, Equip("fan"), "r2")
    with pytest.raises(Fenced):
        ask(hana.store, ClaimMail("m9"), "r3")
    assert compare(before, read(hana)) == {}
    hana.lift()
    assert not ask(hana.store, Equip("fan"), "r2").replayed


def test_the_pass_and_no_other_lets_a_command_through_the_fence(hana: Place) -> None:
    token = new_pass()
    hana.fence(pass_token=token)
    with pytest.raises(Fenced):
        ask(hana.store, CLAIM, fence_pass=new_pass())
    assert not ask(hana.store, CLAIM, fence_pass=token).replayed
    assert read(hana)["users"][("hana",)]["gold"] == 5050
    with pytest.raises(Fenced):
        ask(hana.store, Equip("fan"), "r2")


def test_a_store_that_moved_serves_nothing(hana: Place) -> None:
    ask(hana.store, CLAIM)
    hana.fence("moved")
    for request_id in ("r1", "r2"):
        with pytest.raises(Moved):
            ask(hana.store, CLAIM, request_id)
    with pytest.raises(Moved):
        hana.store.read("hana")
    assert hana.store.status().fence == "moved"


def test_a_store_says_which_it_is_and_how_its_fence_stands(place: Place) -> None:
    open_ = place.store.status()
    place.fence()
    fenced = place.store.status()
    assert (open_.fence, fenced.fence) == ("open", "fenced")
    assert (open_.engine, open_.store) == (fenced.engine, fenced.store)
    assert open_.store.startswith(f"{place.store.engine}:")


def test_both_stores_tell_the_same_of_a_player(request: pytest.FixtureRequest) -> None:
    results = []
    for name in ("postgres", "legacy"):
        place: Place = request.getfixturevalue(name)
        place.put(builders.player("hana", **HANA))
        outcomes = [ask(place.store, command, f"r{n}").outcome for n, command in enumerate(ALL)]
        rows = read(place)
        for item in rows["user_inventory"].values():
            del item["position"]
        results.append((outcomes, rows))
    assert results[0][0] == results[1][0]
    assert compare(results[0][1], results[1][1]) == {}


def test_a_roll_is_of_the_command_so_it_can_not_be_tried_out_on_another(hana: Place) -> None:
    class Recording(Chance):
        def percent(self, name: str, *, of: str = "") -> float:
            rolled.append(super().percent(name, of=of))
            raise Refused("bag_full")

    def roll(command: Command) -> list[float]:
        rolled.clear()
        for n in range(20):
            with pytest.raises(Refused):
                dispatch(
                    hana.store,
                    Request("hana", f"try{n}", command),
                    clock=lambda: NOON_MS,
                    chance=lambda request: Recording("the secret of tests", request),
                )
        return list(rolled)

    rolled: list[float] = []
    dear, cheap = Convert("하급 강화석", "up", 5), Convert("하급 강화석", "up", 1)
    assert roll(dear) == roll(dear)
    assert roll(dear) != roll(cheap)
