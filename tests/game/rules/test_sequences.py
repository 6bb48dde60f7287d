"""Random sequences of several players' commands, on both stores and by the laws, checked after each step.

Of some requests the client does not learn the answer. At its end the history checker judges each sequence.

More than CI plays: pytest tests/game/rules/test_sequences.py --sequences=5000
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from db.samples import builders
from game.dispatch import Answer, Request, dispatch
from game.errors import Refused
from game.rows import Rows, compare
from game.rules import catalog
from game.rules.chance import Chance
from game.rules.commands import COMMANDS, decode
from game.rules.missions import MISSIONS
from game.rules.stages import STAGES
from game.unit_of_work import Store
from harness.history.client_log import ClientLog
from harness.history.recording import HistoryRecorder
from harness.play import differential, invariants
from harness.play.arena import LegacyStage, PlayedStore, PostgresStage, StartingPlayer
from tests.game.examples import EXAMPLES

PARTS = 4
STEPS = 30
NOT_LEARNED = 7
"""Of every so many requests the client does not learn the answer of one."""

CHANCE: Callable[[str], Chance] = partial(Chance, "the secret of tests")
NOON_MS = 1_767_582_000_000
HOUR_MS = 3_600_000

RICH: dict[str, object] = {
    "gold": 20_000,
    "diamonds": 700,
    "level": 30,
    "forge": {"level": 3},
    "action_points": 60,
    "bag": {
        **{f"fan{n}": "푸른 바람 부채" for n in range(4)},
        **{f"board{n}": "단풍결 바둑판" for n in range(3)},
        "star": {"name": "서리 바람 부채", "stars": 9},
        "low": {"name": catalog.MATERIALS[0], "quantity": 95},
        "mid": {"name": catalog.MATERIALS[1], "quantity": 60},
        "high": {"name": catalog.MATERIALS[3], "quantity": 80},
        "bundle": {"name": "골드 꾸러미2", "quantity": 3},
        "box": "장비 상자 I",
    },
    "worn": ["fan0"],
    "presets": {"gone": {"fan": "lost"}, "board": {"board": "board0"}},
    "mail": {
        "m1": {"gold": 500, "items": {"골드 꾸러미1": 2}},
        "m2": {"diamonds": 30, "items": {catalog.MATERIALS[0]: 120}},
        "m3": {"gold": 9, "expires": NOON_MS + 5 * HOUR_MS},
        "m4": {},
    },
    "quests": {
        "daily": {
            "q1": {"target": 1, "progress": 1, "reward": {"gold": 100}, "activity_points": 20},
            "q2": {"target": 3, "progress": 1, "activity_points": 20},
        },
        "weekly": {"q1": {"target": 2, "progress": 2, "reward": {"diamonds": 5}, "activity_points": 40}},
    },
    "missions": {"mission_attendance": {"started": True, "amount": 10, "collected": 490, "since": NOON_MS - HOUR_MS}},
    "stages": [f"입문-{n}" for n in range(1, 20)],
    "progress": 19,
    "tournaments": {"world": {"status": "complete", "rank": 3, "boxes": {"장비 상자 II": 2}}, "national": {}},
}
POOR: dict[str, object] = {"gold": 150, "places": 3, "bag": {"fan": "푸른 바람 부채", "stone": catalog.MATERIALS[0]}}
PLAYERS: dict[str, dict[str, object]] = {"hana": RICH, "duri": POOR, "sena": {}}


@dataclass(frozen=True)
class Done:
    """A command that was granted, to be asked for again."""

    request: Request
    now_ms: int
    answer: Answer


class Sequences(RuleBasedStateMachine):
    """Every command goes to both stores; a refusal and a retry change nothing; the laws hold."""

    def __init__(self, stages: tuple[PlayedStore, PlayedStore]) -> None:
        super().__init__()
        starts = [self.start(player) for player in PLAYERS]
        for stage in stages:
            stage.place(starts)
        self.stores: tuple[Store, Store] = (stages[0].store, stages[1].store)
        self.now_ms = NOON_MS
        self.asked = 0
        self.done: list[Done] = []
        self.rows = {player: self.read(player) for player in PLAYERS}
        self.openings = dict(self.rows)
        self.log = ClientLog()
        self.recorders = [HistoryRecorder(store, PLAYERS, CHANCE) for store in self.stores]

    _starts: ClassVar[dict[str, StartingPlayer]] = {}

    @classmethod
    def start(cls, player: str) -> StartingPlayer:
        if player not in cls._starts:
            rows = builders.player(player, **PLAYERS[player])
            cls._starts[player] = StartingPlayer(rows, builders.legacy_row(rows))
        return cls._starts[player]

    def read(self, player: str) -> tuple[Rows, Rows]:
        pair = self.stores[0].read(player), self.stores[1].read(player)
        assert pair[0] is not None
        assert pair[1] is not None
        return pair[0], pair[1]

    @rule(hours=st.sampled_from([-30, -1, 0.1, 1, 7, 24, 24, 200]))
    def time_passes(self, hours: float) -> None:
        self.now_ms += int(hours * HOUR_MS)

    def teardown(self) -> None:
        for recorder, store in zip(self.recorders, self.stores, strict=True):
            judged = recorder.judge(self.log, store)
            assert judged.violations == ()
            assert judged.figures.receipts == len(self.done)

    @rule(player=st.sampled_from(list(PLAYERS)), action=st.sampled_from(sorted(COMMANDS)), data=st.data())
    def act(self, player: str, action: str, data: st.DataObject) -> None:
        wishes = FIELDS.get(action) or {name: among(value) for name, value in EXAMPLES[action].fields.items()}
        fields = {name: data.draw(wish(self.rows[player][0])) for name, wish in wishes.items()}
        self.asked += 1
        request = Request(player, f"r{self.asked}", decode(action, fields))
        before = self.rows[player]
        self.log.sending(player, request.request_id, action, fields)
        answers = [self.ask(store, request) for store in self.stores]
        assert answers[0] == answers[1]
        self.rows[player] = after = self.read(player)
        answer = answers[0]
        if self.asked % NOT_LEARNED:
            self.learn(request, answer)
        if isinstance(answer, Answer):
            self.done.append(Done(request, self.now_ms, answer))
        else:
            assert compare(before[0], after[0]) == {}, f"{action} was refused: {answer}"
            assert compare(before[1], after[1]) == {}, f"{action} was refused: {answer}"
        self.check(player, before[0], after)

    def learn(self, request: Request, answer: Answer | str) -> None:
        if isinstance(answer, Answer):
            self.log.granted(request.player, request.request_id, answer.outcome)
        else:
            self.log.refused(request.player, request.request_id, answer)

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.done))
        for store, before in zip(self.stores, self.rows[done.request.player], strict=True):
            assert self.ask(store, done.request) == Answer(done.answer.outcome, replayed=True)
            assert compare(before, store.read(done.request.player) or Rows()) == {}
        command = done.request.command
        self.log.sending(done.request.player, done.request.request_id, command.action, asdict(command))
        self.learn(done.request, done.answer)

    def ask(self, store: Store, request: Request) -> Answer | str:
        """Return the answer, or the code of the refusal."""
        try:
            return dispatch(store, request, clock=lambda: self.now_ms, chance=CHANCE)
        except Refused as refusal:
            return refusal.code

    def check(self, player: str, before: Rows, after: tuple[Rows, Rows]) -> None:
        order = [done.request.request_id for done in self.done]
        for opening, rows in zip(self.openings[player], after, strict=True):
            assert invariants.breaches(rows, order, opening=opening) == []
            assert invariants.order_kept(before, rows) == []
        granted = [(d.request.player, d.request.request_id) for d in self.done if d.request.player == player]
        assert invariants.receipts(after[0], granted, []) == []
        assert list(differential.differences(*after)) == []


def of(table: str, place: int = 1) -> Callable[[Rows], st.SearchStrategy[str]]:
    """A key of the player's, or one that is nobody's; sorted, for a store gives its rows in any order."""

    def wish(rows: Rows) -> st.SearchStrategy[str]:
        return st.sampled_from([*sorted({str(key[place]) for key in rows[table]}), "nobody's"])

    return wish


def among(*values: object) -> Callable[[Rows], st.SearchStrategy[Any]]:
    return lambda _rows: st.sampled_from(values)


def three_items(rows: Rows) -> st.SearchStrategy[list[str]]:
    """Three of the equipment, or of anything, once each or not."""
    equipment = sorted(str(key[1]) for key, item in rows["user_inventory"].items() if item["grade"] == "normal")
    anything = [*sorted(str(key[1]) for key in rows["user_inventory"]), "nobody's"]
    one = st.lists(st.sampled_from(equipment if len(equipment) >= 3 else anything), min_size=3, max_size=3)
    return st.one_of(one, st.lists(st.sampled_from(anything), min_size=3, max_size=3))


KIND = among("neighborhood", "national", "world")
PERIOD = among("daily", "daily", "weekly", "monthly")
ITEM = of("user_inventory")
MISSION = among(*MISSIONS, "mission_attendance", "mission_attendance")
FIELDS: dict[str, dict[str, Callable[[Rows], st.SearchStrategy[Any]]]] = {
    "claim_mail": {"mail": of("user_mail")},
    "delete_mail": {"mail": of("user_mail")},
    "claim_quest": {"period": PERIOD, "quest": among("q1", "q1", "q2")},
    "claim_milestone": {"period": PERIOD, "milestone": among(20, 20, 40, 60, 80, 100)},
    "equip": {"item": ITEM},
    "unequip": {"slot": among("fan", "board", "top")},
    "save_preset": {"name": among("one", "two", "board")},
    "apply_preset": {"name": of("user_equipment_presets")},
    "enhance": {"item": ITEM},
    "combine": {"items": three_items, "random": among(True, False)},
    "disassemble": {"item": ITEM},
    "convert": {"material": among(*catalog.MATERIALS, "돌"), "to": among("up", "down"), "times": among(1, 2, 5)},
    "start_tournament": {"kind": KIND},
    "finish_tournament": {"kind": KIND},
    "claim_tournament_reward": {"kind": KIND},
    "clear_stage": {"stage": among("입문-20", "초급-1", *list(STAGES)[:3], "입문-99")},
    "start_mission": {"mission": MISSION},
    "collect_mission": {"mission": MISSION},
    "level_up_mission": {"mission": MISSION},
    "open_bundle": {"item": ITEM},
    "sell_item": {"item": ITEM, "quantity": among(1, 1, 3, 500)},
    "expand_bag": {"type": among("equipment", "material", "consumable")},
}


@pytest.mark.parametrize("part", range(PARTS))
def test_any_sequence_ends_alike_on_both_stores_and_by_the_laws(
    postgres_stage: PostgresStage, legacy_stage: LegacyStage, request: pytest.FixtureRequest, part: int
) -> None:
    sequences = -(-request.config.getoption("--sequences") // PARTS)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # Hypothesis leaves it untyped
        hypothesis.seed(part)(partial(Sequences, (postgres_stage, legacy_stage))),
        settings=settings(
            max_examples=sequences,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
        _min_steps=STEPS,
    )
