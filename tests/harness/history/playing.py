"""Plays on a store as a client does, keeps the client's log, and has the history judged."""

from __future__ import annotations

from functools import partial
from itertools import count

from game.dispatch import Request, dispatch
from game.errors import Refused
from game.rows import Rows
from game.rules.chance import Chance
from game.rules.commands import decode
from game.unit_of_work import Store
from harness.history.checking import Judged
from harness.history.client_log import ClientLog, ClientRequest
from harness.history.recording import HistoryRecorder

NOON_MS = 1_767_582_000_000
CHANCE = partial(Chance, "the secret of tests")

HANA: dict[str, object] = {
    "gold": 100,
    "diamonds": 7,
    "level": 30,
    "bag": {"fan": "푸른 바람 부채", "fan2": "은결 바람 부채", "stone": {"name": "하급 강화석", "quantity": 60}},
    "worn": ["fan2"],
    "mail": {
        "m1": {"gold": 50, "items": {"골드 꾸러미1": 2}},
        "m2": {"gold": 30},
        "m3": {"diamonds": 3},
        "old": {"gold": 9, "claimed": True},
    },
    "stages": ["입문-1", "입문-2"],
}

Asked = tuple[str, dict[str, object]]
SAVE: Asked = ("save_preset", {"name": "today"})
START: Asked = ("start_mission", {"mission": "mission_attendance"})
EQUIP: Asked = ("equip", {"item": "fan"})


def claim(mail: str) -> Asked:
    return "claim_mail", {"mail": mail}


class Client:
    """One client, whose requests come one after the other; its clock counts the instants, so no two are the same."""

    def __init__(self, store: Store, *players: str) -> None:
        self.log = ClientLog(clock=partial(next, count(1)))
        self._store = store
        self._recorder = HistoryRecorder(store, players or ("hana",), CHANCE)

    def ask(
        self, request_id: str, asked: Asked, *, player: str = "hana", learns: bool = True, carried_out: bool = True
    ) -> str:
        """Ask for something. learns: False if the answer is lost; carried_out: False if the request is."""
        action, fields = asked
        self.log.sending(player, request_id, action, fields)
        if not carried_out:
            return "lost"
        try:
            request = Request(player, request_id, decode(action, fields))
            answer = dispatch(self._store, request, clock=lambda: NOON_MS, chance=CHANCE)
        except Refused as refusal:
            if learns:
                self.log.refused(player, request_id, refusal.code)
            return refusal.code
        if learns:
            self.log.granted(player, request_id, answer.outcome)
        return "granted"

    def play(self, **asked: Asked) -> None:
        """Ask for each under its id; all must be granted."""
        for request_id, each in asked.items():
            assert self.ask(request_id, each) == "granted", request_id

    def asked(self, request_id: str) -> ClientRequest:
        """Return a request as the log has it, which a test may change."""
        return next(request for request in self.log if request.id == request_id)

    def switched(self, heads: dict[str, int]) -> None:
        self._recorder.switched(heads)

    def judged(self) -> Judged:
        return self._recorder.judge(self.log, self._store)


def violations(judged: Judged) -> dict[str, set[str]]:
    """Return what is wrong: the names, each with the requests that it is about."""
    named: dict[str, set[str]] = {}
    for violation in judged.violations:
        named.setdefault(str(violation.kind), set()).add(violation.request)
    return named


def read(store: Store, player: str = "hana") -> Rows:
    rows = store.read(player)
    assert rows is not None
    return rows
