"""The count by receipts finds what it is there to find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.samples import seed
from game.dispatch import Request as Command
from game.dispatch import dispatch
from game.errors import Refused
from game.legacy.store import LegacyStore
from game.rows import Rows
from game.rules.chance import Chance
from game.rules.commands import decode
from harness.load import receipts, scripts
from harness.load.receipts import ReceiptCount
from harness.load.virtual_users import Granted, ServiceRequest

NOW_MS = 1_770_000_000_000


class Played:
    """A legacy file on which every player did all that was planned, and what they were told."""

    def __init__(self, store: LegacyStore, path: Path) -> None:
        self.path = path
        self.openings = {player: store.read(player) for player in scripts.read(path, players=20)}
        self.granted: list[Granted] = []
        self.refused: list[tuple[str, str]] = []
        for player, plan in scripts.read(path, players=20).items():
            for n, (action, fields) in enumerate(plan):
                request = ServiceRequest(player, f"r{n}", action, fields)
                try:
                    answer = dispatch(
                        store,
                        Command(player, request.id, decode(action, fields)),
                        clock=lambda: NOW_MS,
                        chance=lambda request_id: Chance("secret", request_id),
                    )
                except Refused:
                    self.refused.append(request.key)
                else:
                    self.granted.append(Granted(request, answer.outcome))
        players = {grant.request.player for grant in self.granted} | {player for player, _ in self.refused}
        self.rows = {player: store.read(player) for player in players}

    def count(self, rows: dict[str, Rows | None] | None = None) -> ReceiptCount:
        read = (self.rows if rows is None else rows).__getitem__
        return receipts.count(read, self.granted, self.refused, opening=self.openings.get)

    def after(self, grant: Granted, change: str) -> ReceiptCount:
        """The count once the rows of the grant's player were changed."""
        rows = self.rows[grant.request.player]
        assert rows is not None
        changed = rows.copy()
        CHANGES[change](changed, grant.request.key)
        return self.count({**self.rows, grant.request.player: changed})

    def one(self, action: str) -> Granted:
        return next(grant for grant in self.granted if grant.request.action == action)


def lose_receipt(rows: Rows, key: tuple[str, str]) -> None:
    del rows["action_receipts"][key]


def tell_otherwise(rows: Rows, key: tuple[str, str]) -> None:
    rows["action_receipts"][key]["outcome"] = json.dumps({"gold": 1})


def lose_line(rows: Rows, key: tuple[str, str]) -> None:
    del rows["inventory_history"][(*key, 1)]


def write_line_twice(rows: Rows, key: tuple[str, str]) -> None:
    lines = rows["inventory_history"]
    last = max(n for *place, n in lines if tuple(place) == key)
    lines[(*key, int(last) + 1)] = lines[(*key, last)] | {"n": int(last) + 1}


def invent_receipt(rows: Rows, key: tuple[str, str]) -> None:
    rows["action_receipts"][(key[0], "nobody")] = rows["action_receipts"][key] | {"request_id": "nobody"}


def give_gold(rows: Rows, key: tuple[str, str]) -> None:
    user = rows["users"][(key[0],)]
    user["gold"] = int(user["gold"] or 0) + 1


def give_score(rows: Rows, key: tuple[str, str]) -> None:
    user = rows["users"][(key[0],)]
    user["tournament_score"] = int(user["tournament_score"] or 0) + 1


CHANGES = {
    change.__name__: change
    for change in (lose_receipt, tell_otherwise, lose_line, write_line_twice, invent_receipt, give_gold, give_score)
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    path = tmp_path_factory.mktemp("played") / "game.db"
    seed.seed_legacy(path, 16, seed=2, anomalies=False)
    store = LegacyStore(path)
    yield Played(store, path)
    store.close()


def test_plans_are_mostly_granted_and_of_every_kind(played: Played) -> None:
    assert len(played.granted) > 60
    assert len(played.granted) > 2 * len(played.refused)
    assert {grant.request.action for grant in played.granted} == {
        "claim_mail",
        "equip",
        "unequip",
        "enhance",
        "finish_tournament",
        "claim_tournament_reward",
    }


def test_what_was_done_once_counts_as_once(played: Played) -> None:
    count = played.count()
    assert count.problems == []
    assert (count.acknowledged, count.missing, count.duplicated) == (len(played.granted), 0, 0)


@pytest.mark.parametrize(
    ("change", "missing", "duplicated"),
    [
        ("lose_receipt", 1, 0),
        ("tell_otherwise", 1, 0),
        ("lose_line", 1, 0),
        ("write_line_twice", 0, 1),
        ("invent_receipt", 0, 1),
    ],
)
def test_what_is_missing_or_there_twice_is_counted(played: Played, change: str, missing: int, duplicated: int) -> None:
    count = played.after(played.one("enhance"), change)
    assert (count.missing, count.duplicated) == (missing, duplicated)
    assert not count.clean


def test_gold_from_nowhere_is_a_problem(played: Played) -> None:
    grant = played.one("claim_mail")
    count = played.after(grant, "give_gold")
    assert (count.missing, count.duplicated) == (0, 0)
    assert any("gold = opening + ledger" in problem for problem in count.problems)


def test_a_score_from_nowhere_is_a_problem(played: Played) -> None:
    grant = played.one("finish_tournament")
    count = played.after(grant, "give_score")
    assert (count.missing, count.duplicated) == (0, 0)
    assert any("users.tournament_score = opening + receipts" in problem for problem in count.problems)


def test_a_player_who_is_gone_takes_every_request_along(played: Played) -> None:
    player = played.granted[0].request.player
    count = played.count({**played.rows, player: None})
    assert count.missing == sum(1 for grant in played.granted if grant.request.player == player)


def test_receipts_of_before_must_be_there_still_and_are_not_counted(played: Played) -> None:
    grant = played.granted[0]
    mine = [other for other in played.granted if other.request.player != grant.request.player]
    before = {
        grant.request.player: {other.request.id for other in played.granted if other not in mine},
        "a stranger": {"r1"},
    }
    refused = [key for key in played.refused if key[0] == grant.request.player] or [(grant.request.player, "never")]
    counted = receipts.count(played.rows.__getitem__, mine, refused, before)
    assert (counted.problems, counted.acknowledged) == ([], len(mine))
    before[grant.request.player].add("lost")
    counted = receipts.count(played.rows.__getitem__, mine, refused, before)
    assert counted.missing == 1
    assert counted.problems == [f"{grant.request.player}: the receipt of lost, of before, is gone"]


def test_a_refused_request_with_a_receipt_is_a_problem(played: Played) -> None:
    grant = played.granted[0]
    rest = [other for other in played.granted if other is not grant]
    counted = receipts.count(played.rows.__getitem__, rest, [*played.refused, grant.request.key])
    assert counted.duplicated == 1
    assert f"{grant.request.id} has a receipt, and was refused" in counted.problems[0]


def test_receipts_of_before_are_read_from_the_file(played: Played, tmp_path: Path) -> None:
    requests = receipts.earlier(played.path)
    assert {(player, request) for player in requests for request in requests[player]} == {
        g.request.key for g in played.granted
    }
    seed.empty_legacy(tmp_path / "new.db")
    assert receipts.earlier(tmp_path / "new.db") == {}
