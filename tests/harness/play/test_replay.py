"""A scenario that does not hold is found out, whatever it is that does not: the file's word or the store's deed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from db.samples import seed
from game.errors import Refused
from game.legacy.store import LegacyStore, LegacyUnit
from game.rows import Rows
from game.unit_of_work import Store, StoreStatus, Unit
from harness import scenarios
from harness.play.arena import LegacyStage
from harness.play.differential import replay_twins
from harness.play.replay import PlayResult, replay

MAIL = """\
about: A mail is claimed once.
given: {hana: {gold: 100, bag: {fan: 푸른 바람 부채, bowl: 가벼운 나무통}, mail: {m1: {gold: 50, items: {골드 꾸러미1: 1}}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1, expect: {gold: 50, diamonds: 0, action_points: 0, items: {골드 꾸러미1: 1}}}
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}
  - {by: hana, do: claim_mail, with: {mail: m1}, refused: already_claimed}
after:
  users: {hana: {gold: [100, 150]}}
  user_mail: {hana/m1: {claimed: [false, true]}}
  user_inventory: {hana/r1.1: {new: {name: 골드 꾸러미1}}}
  ledger: {r1: [[gold, 50, mail]]}
  history: {r1: [[gain, r1.1, 1]]}
"""  # noqa: E501 - a step a line, as in a file

FORGE = """\
about: A failed enhancement spends and counts.
given: {hana: {gold: 100, bag: {fan: 푸른 바람 부채, stone: {name: 하급 강화석, quantity: 12}}}}
steps:
  - {by: hana, do: enhance, with: {item: fan}, dice: {success: 100, xp: 4}, expect: {success: true, stars: 1}}
"""

RACE = """\
about: Of two claims of one mail at once, one is granted.
given: {hana: {mail: {m1: {gold: 50}}}}
steps:
  - race:
      - {by: hana, do: claim_mail, with: {mail: m1}}
      - {by: hana, do: claim_mail, with: {mail: m1}}
    outcomes: [{a: ok, b: already_claimed}, {a: already_claimed, b: ok}]
"""


class TamperedStore:
    """A store after each of whose commands somebody runs a statement on the file."""

    def __init__(self, path: Path, statement: str) -> None:
        self._store = LegacyStore(path)
        self._path = path
        self._statement = statement

    @contextmanager
    def begin(self, fence_pass: str | None = None) -> Iterator[Unit]:
        with self._store.begin(fence_pass) as unit:
            yield unit
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(self._statement)

    def read(self, player: str) -> Rows | None:
        return self._store.read(player)

    def status(self) -> StoreStatus:
        return self._store.status()

    def close(self) -> None:
        self._store.close()


class TamperedStage(LegacyStage):
    name = "tampered"

    def __init__(self, empty: Path, path: Path, statement: str) -> None:
        super().__init__(empty, path, opened_by=lambda place: TamperedStore(place, statement))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    seed.empty_legacy(tmp_path / "empty.sqlite")
    return tmp_path / "empty.sqlite"


@pytest.fixture
def stage(empty: Path, tmp_path: Path) -> Iterator[LegacyStage]:
    made = LegacyStage(empty, tmp_path / "game.sqlite")
    yield made
    made.close()


def verdict(text: str, stage: LegacyStage) -> PlayResult:
    return replay(scenarios.read(text, "mail.yaml").scenario, stage)


def problems_of(text: str, stage: LegacyStage) -> list[str]:
    """Return each problem as `path: expected → found`."""
    return [
        f"{'.'.join(map(str, problem.path))}: {problem.expected} → {problem.found}"
        for problem in verdict(text, stage).problems
    ]


@pytest.mark.parametrize("text", [MAIL, FORGE, RACE])
def test_what_holds_has_no_problem(text: str, stage: LegacyStage) -> None:
    assert problems_of(text, stage) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("gold: [100, 150]", "gold: [100, 160]", "after.users.hana.gold: [100, 160] → [100, 150]"),
        ("gold: [100, 150]", "gold: [90, 150]", "after.users.hana.gold: [90, 150] → [100, 150]"),
        (
            "gold: [100, 150]",
            "gold: [100, 150], diamonds: [0, 1]",
            "after.users.hana.diamonds: [0, 1] → no change",
        ),
        (
            "  user_mail: {hana/m1: {claimed: [false, true]}}\n",
            "",
            "after.user_mail.hana/m1: no change → {claimed: [false, true]}",
        ),
        (
            "{new: {name: 골드 꾸러미1}}",
            "gone",
            "after.user_inventory.hana/r1.1: gone → {new: {name: 골드 꾸러미1, quantity: 1}}",
        ),
        ("골드 꾸러미1}}", "골드 꾸러미1, quantity: 2}}", "after.user_inventory.hana/r1.1.new.quantity: 2 → 1"),
        ("골드 꾸러미1}}", "골드 꾸러미2}}", "after.user_inventory.hana/r1.1.new.name: 골드 꾸러미2 → 골드 꾸러미1"),
        ("[[gold, 50, mail]]", "[[gold, 50, sale]]", "after.ledger.r1: [[gold, 50, sale]] → [[gold, 50, mail]]"),
        ("  history: {r1: [[gain, r1.1, 1]]}\n", "", "after.history.r1: [] → [[gain, r1.1, 1]]"),
        ("expect: {gold: 50", "expect: {gold: 51", "steps.0.expect.gold: 51 → 50"),
        (", diamonds: 0,", ",", "steps.0.expect.diamonds: no such field → 0"),
        (
            "refused: already_claimed",
            "refused: mail_expired",
            "steps.2.refused: refused mail_expired → refused already_claimed",
        ),
        (", refused: already_claimed", "", "steps.2: granted → refused already_claimed"),
        ("request: r1}", "request: r1, refused: bag_full}", "steps.1.refused: refused bag_full → granted"),
    ],
)
def test_a_wrong_word_of_the_file_is_found(old: str, new: str, problem: str, stage: LegacyStage) -> None:
    assert MAIL.count(old) == 1
    assert problems_of(MAIL.replace(old, new), stage) == [problem]


@pytest.mark.parametrize(
    ("dice", "problem"),
    [
        ("{success: 101}", " success: expected a percentage from 0.5 to 100 in halves, found 101"),
        ("{success: 50.3}", " success: expected a percentage from 0.5 to 100 in halves, found 50.3"),
        ("{xp: 11}", " xp: expected a whole number from 1 to 10, found 11"),
        ("{success: 1, xp.2: 3}", ".xp.2: a draw named 'xp.2' → no such draw"),
    ],
)
def test_dice_that_can_not_be_thrown_are_an_error(dice: str, problem: str, stage: LegacyStage) -> None:
    (line,) = problems_of(FORGE.replace("{success: 100, xp: 4}", dice), stage)
    assert line.startswith("steps.0.dice")
    assert line.endswith(problem)


BUNDLE_RACE = """\
about: Of two who open one bundle at once, one gets it.
given: {hana: {bag: {bundle: 골드 꾸러미1}}}
steps:
  - race:
      - {by: hana, do: open_bundle, with: {item: bundle}, dice: {amount: 20}}
      - {by: hana, do: open_bundle, with: {item: bundle}, dice: {amount: 20}}
    outcomes: [{a: ok, b: no_such_item}, {a: no_such_item, b: ok}]
"""


def test_dice_that_no_order_of_a_race_draws_are_an_error(stage: LegacyStage) -> None:
    text = BUNDLE_RACE.replace("amount: 20", "amount: 20, amount.2: 20", 1)
    assert problems_of(text, stage) == ["steps.0.race.0.dice.amount.2: a draw named 'amount.2' → no such draw"]
    refused = text.replace("{bag: {bundle: 골드 꾸러미1}}", "{}").partition("[{a: ok")[0]
    assert problems_of(refused + "[{a: no_such_item, b: no_such_item}]\n", stage) == [
        "steps.0.race.0.dice.amount: a draw named 'amount' → no such draw",
        "steps.0.race.0.dice.amount.2: a draw named 'amount.2' → no such draw",
        "steps.0.race.1.dice.amount: a draw named 'amount' → no such draw",
    ]


def test_dice_that_one_order_of_a_race_draws_are_none(stage: LegacyStage) -> None:
    assert problems_of(BUNDLE_RACE, stage) == []


@pytest.mark.parametrize(
    ("outcomes", "found"),
    [
        ("[{a: ok, b: already_claimed}]", "[{a: ok, b: already_claimed}, {a: already_claimed, b: ok}]"),
        ("[{a: ok, b: ok}]", "[{a: ok, b: already_claimed}, {a: already_claimed, b: ok}]"),
    ],
)
def test_the_outcomes_of_a_race_are_exactly_those_of_its_orders(outcomes: str, found: str, stage: LegacyStage) -> None:
    text = RACE.replace("[{a: ok, b: already_claimed}, {a: already_claimed, b: ok}]", outcomes)
    assert problems_of(text, stage) == [f"steps.0.outcomes: {outcomes} → {found}"]


def test_the_difference_of_a_race_must_hold_in_every_order(stage: LegacyStage) -> None:
    text = RACE + "after: {users: {hana: {gold: [0, 50]}}, user_mail: {hana/m1: {claimed: [false, true]}}, "
    assert problems_of(text + "ledger: {a: [[gold, 50, mail]]}}\n", stage) == [
        "after.ledger.a: [[gold, 50, mail]] → []",
        "after.ledger.b: [] → [[gold, 50, mail]]",
    ]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "DELETE FROM sudamr_action_receipts",
            "steps.0: hana's receipt of r1: one, for it was granted → none",
        ),
        (
            "UPDATE users SET gold = gold + 1 WHERE gold < 152",
            "steps.0: hana's gold = opening + ledger: 150 → 151",
        ),
        (
            "UPDATE users SET gold = -5",
            "steps.0: hana's state: readable → held",
        ),
        (
            "DELETE FROM sudamr_inventory_history",
            "steps.0: hana's stock of r1.1 = opening + history: 0 → 1",
        ),
        (
            "UPDATE sudamr_currency_ledger SET balance = 151",
            "steps.0: hana's gold after a line of r1: 150 → 151",
        ),
        (
            "UPDATE sudamr_inventory_history SET n = 2",
            "steps.0: hana's inventory_history of r1: lines numbered from 1 → [2]",
        ),
        (
            "UPDATE sudamr_action_receipts SET at = at - 60000",
            "steps.0: a receipt of 2026-01-05T12:00:00+09:00 → one of 2026-01-05T11:59:00+09:00",
        ),
        (
            "INSERT OR IGNORE INTO sudamr_action_receipts VALUES ('hana', 'r9', '', '{}', 0, NULL, NULL)",
            "steps.0: hana's receipt of r9: none, for nobody asked → one",
        ),
        (
            """UPDATE users SET equipment = '{"fan":"fan","board":"fan"}'""",
            """steps.0: hana's worn as board: an item → "fan\"""",
        ),
        (
            """UPDATE users SET inventory = (SELECT json_group_array(json(value)) FROM
                (SELECT value FROM json_each(inventory) ORDER BY json_extract(value, '$.name')))""",
            "steps.0: hana's order of user_inventory: fan, bowl, r1.1 → bowl, r1.1, fan",
        ),
    ],
    ids=lambda text: text.split("→")[0].strip() if "→" in text else "",
)
def test_a_wrong_deed_of_the_store_is_found(statement: str, problem: str, empty: Path, tmp_path: Path) -> None:
    tampered = TamperedStage(empty, tmp_path / "game.sqlite", statement)
    assert problem in problems_of(MAIL, tampered)
    tampered.close()


def test_a_grant_done_twice_is_found(empty: Path, tmp_path: Path) -> None:
    statement = "DELETE FROM sudamr_action_receipts"
    undone = "UPDATE users SET mail = replace(mail, '\"attachmentsClaimed\":true', '\"attachmentsClaimed\":false')"
    forgetful = TamperedStage(empty, tmp_path / "game.sqlite", statement)
    assert "steps.1: the first answer again" in "\n".join(problems_of(MAIL, forgetful))
    forgetful.close()
    generous = TamperedStage(empty, tmp_path / "game.sqlite", undone)
    assert "steps.2.refused: refused already_claimed → granted" in problems_of(MAIL, generous)
    generous.close()


def test_twins_that_part_are_found_where_they_part(stage: LegacyStage, empty: Path, tmp_path: Path) -> None:
    tampered = TamperedStage(empty, tmp_path / "other.sqlite", "UPDATE users SET gold = gold + 1")
    problems = replay_twins(scenarios.read(MAIL, "mail.yaml").scenario, stage, tampered)
    tampered.close()
    assert [(problem.path, problem.expected, problem.found) for problem in problems] == [
        (("steps", 0), "users.hana.gold on legacy: 150", "on tampered: 151")
    ]


def test_twins_that_answer_otherwise_are_found(stage: LegacyStage, empty: Path, tmp_path: Path) -> None:
    statement = "UPDATE users SET mail = replace(mail, '\"attachmentsClaimed\":true', '\"attachmentsClaimed\":false')"
    tampered = TamperedStage(empty, tmp_path / "other.sqlite", statement)
    problems = replay_twins(scenarios.read(RACE, "mail.yaml").scenario, stage, tampered)
    tampered.close()
    assert [(problem.path, problem.expected, problem.found) for problem in problems][:1] == [
        (("steps", 0, "race", 0), "user_mail.hana/m1.claimed on legacy: true", "on tampered: false")
    ]


class Hasty(LegacyStore):
    """A store that says no for a reason of its own."""

    @contextmanager
    def begin(self, fence_pass: str | None = None) -> Iterator[LegacyUnit]:
        with super().begin(fence_pass):
            raise Refused("bag_full")
            yield  # a context manager is a generator, one that never comes this far too


class Leaky(LegacyStore):
    """A store that keeps something of a command that was refused."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path

    @contextmanager
    def begin(self, fence_pass: str | None = None) -> Iterator[LegacyUnit]:
        try:
            with super().begin(fence_pass) as unit:
                yield unit
        except Refused:
            with closing(sqlite3.connect(self._file)) as connection, connection:
                connection.execute("UPDATE users SET tournamentScore = 7")
            raise


UNKNOWN = """\
about: A mail that is not there is not claimed.
given: {hana: {}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, refused: no_such_mail}
"""


def test_twins_that_refuse_for_different_reasons_are_found(stage: LegacyStage, empty: Path, tmp_path: Path) -> None:
    hasty = LegacyStage(empty, tmp_path / "other.sqlite", opened_by=Hasty)
    problems = replay_twins(scenarios.read(UNKNOWN, "mail.yaml").scenario, stage, hasty)
    hasty.close()
    assert [(problem.expected, problem.found) for problem in problems] == [
        ("answer on legacy: no_such_mail", "on legacy: bag_full")
    ]


def test_what_is_kept_of_a_refused_command_is_found(empty: Path, tmp_path: Path) -> None:
    leaky = LegacyStage(empty, tmp_path / "game.sqlite", opened_by=Leaky)
    assert problems_of(UNKNOWN, leaky) == [
        "steps.0: nothing changed by a refused command → {users: {hana: {tournament_score: [0, 7]}}}",
        "steps.0: hana's users.tournament_score = opening + receipts: 0 → 7",
    ]
    leaky.close()


def test_twins_that_break_a_law_alike_are_found(empty: Path, tmp_path: Path) -> None:
    twins = [LegacyStage(empty, tmp_path / f"{name}.sqlite", opened_by=Leaky) for name in ("one", "other")]
    problems = replay_twins(scenarios.read(UNKNOWN, "mail.yaml").scenario, *twins)
    for stage in twins:
        stage.close()
    assert [problem.expected for problem in problems] == [
        "nothing changed by a refused command",
        "hana's users.tournament_score = opening + receipts: 0",
    ]


def test_a_store_keeps_to_its_protocol(empty: Path) -> None:
    store: Store = TamperedStore(empty, "SELECT 1")
    assert store.read("nobody") is None
    store.close()
