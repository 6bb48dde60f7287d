"""The history checker: judges what clients were answered and what the stores have, as one serial history a player.

Of each player, ordered by the receipts' numbers: no number is missing, each digest follows from the one before, each
acknowledged request is there as it was answered, each receipt with its lines and the rows at the end are what the rules
give from the start, and requests that did not overlap in real time stand in that order, over every switch. A request
whose answer no client got is there whole or not at all. Since a player's commands are serial, that is strict
serializability. What the rules do wrong twice, there and here, the laws tell. Pure; linear in the receipts but for a
sort, some 1 ms a receipt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from game import chain, idempotency
from game.chain import Head
from game.rows import Key, Record, Rows, text
from game.rules.chance import Chance
from game.rules.commands import decode
from harness.history import explaining, real_time
from harness.history.client_log import ClientRequest
from harness.history.explaining import Executed
from harness.history.real_time import Placed
from harness.history.reference import HISTORY, LEDGER, Reference, kept_receipts
from harness.history.violations import Violation, ViolationKind
from harness.laws import laws, loads
from harness.play.memory_store import OPENINGS, RECEIPTS

OF_BEFORE = {
    RECEIPTS: ViolationKind.VANISHED,
    LEDGER: ViolationKind.TORN,
    HISTORY: ViolationKind.TORN,
    OPENINGS: ViolationKind.TORN,
}
"""The name of what is missing of each journal that was there at the start."""

GIVEN_LATER = ("seq", "chain")
"""Columns of a receipt that an earlier version left empty, and that the next command fills."""


@dataclass(frozen=True)
class PlayerHistory:
    """One player in the stores: all rows and journals as the run began, and as they are now.

    end: None if the player is gone. heads: the number of the newest receipt at each switch, on the store that was left.
    """

    player: str
    start: Rows
    end: Rows | None
    heads: tuple[int, ...] = ()


@dataclass(frozen=True)
class Draws:
    """The sources of the draws. chance: of a request's id. epochs: of the stores played on, in their order."""

    chance: Callable[[str], Chance]
    epochs: Sequence[str] = ("",)


@dataclass(frozen=True, slots=True)
class HistoryFigures:
    """Counts of the evidence by which a history was judged.

    players: who asked for something. requests: what they asked for, each counted once however often it was sent.
    receipts: those granted since the start. real_time_pairs: pairs of one player's receipts of which the first was
    answered before the second was sent, so that their order was judged: all of them, not only neighbours.
    across_switch: of these, for the latest switch, the pairs whose first was answered by the store that was left, and
    the second by the other. unknown: requests of which no client learned what became of them.
    """

    players: int = 0
    requests: int = 0
    receipts: int = 0
    real_time_pairs: int = 0
    across_switch: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class Judged:
    """The figures of a history, and all that is wrong with it. across: the pairs across each switch, in their order."""

    figures: HistoryFigures
    across: tuple[int, ...]
    violations: tuple[Violation, ...]

    @property
    def kinds(self) -> frozenset[ViolationKind]:
        """Return the names of what is wrong."""
        return frozenset(violation.kind for violation in self.violations)


def check(asked: Iterable[ClientRequest], histories: Iterable[PlayerHistory], draws: Draws) -> Judged:
    """Judge the histories of these players. asked: by all clients; of a player without a history, nothing is judged."""
    by_player: dict[str, list[ClientRequest]] = {}
    for request in asked:
        by_player.setdefault(request.player, []).append(request)
    checks = [_PlayerCheck(one, by_player.get(one.player, []), draws) for one in histories]
    violations = [violation for each in checks for violation in each.violations()]
    across = tuple(map(sum, zip(*(each.across for each in checks), strict=True)))
    figures = HistoryFigures(
        players=len(by_player),
        requests=sum(map(len, by_player.values())),
        receipts=sum(len(each.new) for each in checks),
        real_time_pairs=sum(real_time.pairs(each.placed) for each in checks),
        across_switch=across[-1] if across else 0,
        unknown=sum(request.is_open for requests in by_player.values() for request in requests),
    )
    return Judged(figures, across, tuple(violations))


class _PlayerCheck:
    """The check of one player's history."""

    def __init__(self, history: PlayerHistory, asked: Sequence[ClientRequest], draws: Draws) -> None:
        self.player = history.player
        self._history = history
        self._asked = asked
        self._draws = draws
        self._end = Rows() if history.end is None else history.end
        self._kept = kept_receipts(self._end)
        before = history.start.get(RECEIPTS, {})
        self.new = [one for one in self._kept if (self.player, one.request) not in before]
        self.placed = list(self._placed())
        self.across = real_time.pairs_across(self.placed, len(history.heads))

    def violations(self) -> Iterator[Violation]:
        """Yield all violations; if there is none, breaches of the laws, which actions and reference may share."""
        wrong = False
        for violation in self._wrong():
            wrong = True
            yield violation
        if not wrong:
            for breach in laws.breaches(self._history.start, self._end):
                yield self._violation(ViolationKind.AGAINST_A_LAW, "", f"{breach.law}: {breach.expected}", breach.found)

    def _wrong(self) -> Iterator[Violation]:
        if self._history.end is None:
            yield self._violation(
                ViolationKind.VANISHED, "", f"the player, with {len(self._asked)} requests", "no such player"
            )
            return
        yield from self._of_before()
        yield from self._unnumbered()
        yield from self._chained()
        yield from self._answers()
        yield from self._without_receipt()
        yield from real_time.violations(self.placed)
        yield from self._by_the_rules()

    def _violation(self, kind: ViolationKind, request: str, expected: str, found: str) -> Violation:
        return Violation(kind, self.player, request, expected, found)

    def _receipt_of(self, request_id: str) -> Record | None:
        receipts = self._end.get(RECEIPTS, {})
        forms = (receipts.get((self.player, form)) for form in idempotency.forms(request_id))
        return next((receipt for receipt in forms if receipt is not None), None)

    def _placed(self) -> Iterator[Placed]:
        """Yield the requests with a place in the order: those with a receipt of this run that some client sent."""
        asked = {form: request for request in self._asked for form in idempotency.forms(request.id)}
        for one in self.new:
            if request := asked.get(one.request):
                answered = None if request.outcome is None else request.answered
                store = sum(one.seq > head for head in self._history.heads)
                yield Placed(self.player, one.request, one.seq, request.sent, answered, store)

    def _of_before(self) -> Iterator[Violation]:
        """Yield the journal rows of the start that are missing or changed now."""
        for table, kind in OF_BEFORE.items():
            now = self._end.get(table, {})
            for key, record in self._history.start.get(table, {}).items():
                if key not in now:
                    yield self._violation(kind, _request(key), f"a row of {table}, of before the run", "none")
                elif not _kept_as_it_was(record, now[key]):
                    yield self._violation(
                        ViolationKind.TORN, _request(key), f"{record}, of before the run", str(now[key])
                    )

    def _unnumbered(self) -> Iterator[Violation]:
        if self.new:
            for key, receipt in self._end.get(RECEIPTS, {}).items():
                if receipt["seq"] is None:
                    yield self._violation(ViolationKind.UNNUMBERED, _request(key), "a number", "none")

    def _chained(self) -> Iterator[Violation]:
        """Yield missing numbers, and the first digest that does not follow."""
        opening = self._end.get(OPENINGS, {}).get((self.player,))
        head = Head()
        lost = sum(1 for request in self._asked if request.outcome is not None and not self._receipt_of(request.id))
        for one in self._kept:
            if missing := one.seq - head.seq - 1:
                lost -= missing
                if lost < 0:  # Else the clients name each of them.
                    yield self._violation(
                        ViolationKind.VANISHED, "", f"number {head.seq + 1}", f"{one.seq}, of {one.request}"
                    )
            else:
                lines = one.granted
                next_head = chain.following(head, opening, one.receipt, lines.ledger.values(), lines.history.values())
                if one.receipt["chain"] != next_head.chain:
                    yield self._violation(ViolationKind.CHAIN, one.request, next_head.chain, str(one.receipt["chain"]))
                    return
            head = Head(one.seq, text(one.receipt, "chain"))

    def _answers(self) -> Iterator[Violation]:
        for request in self._asked:
            receipt = self._receipt_of(request.id)
            for contradiction in request.contradictions:
                yield self._violation(ViolationKind.ANSWERED_DIFFERENTLY, request.id, "one answer", contradiction)
            if request.outcome is not None:
                yield from self._acknowledged(request, receipt)
            elif receipt is not None and not request.is_open:
                expected = f"no receipt, for it was refused: {request.refused}"
                yield self._violation(ViolationKind.ANSWERED_DIFFERENTLY, request.id, expected, str(receipt["outcome"]))
        known = {form for request in self._asked for form in idempotency.forms(request.id)}
        for one in self.new:
            if one.request not in known and not loads.is_load(one.receipt):
                yield self._violation(ViolationKind.UNASKED, one.request, "no receipt", str(one.receipt["outcome"]))

    def _acknowledged(self, request: ClientRequest, receipt: Record | None) -> Iterator[Violation]:
        expected = f"{request.action}, answered {dict(request.outcome or {})}"
        if receipt is None:
            if not self._lines_of(request.id):  # Else the lines without their receipt are named.
                yield self._violation(ViolationKind.VANISHED, request.id, expected, "neither receipt nor lines")
            return
        if json.loads(text(receipt, "outcome")) != request.outcome:
            yield self._violation(ViolationKind.ANSWERED_DIFFERENTLY, request.id, expected, str(receipt["outcome"]))
        if receipt["command"] != decode(request.action, dict(request.fields)).body():
            yield self._violation(
                ViolationKind.ANSWERED_DIFFERENTLY, request.id, expected, f"carried out: {text(receipt, 'command')}"
            )

    def _lines_of(self, request_id: str) -> int:
        forms = idempotency.forms(request_id)
        return sum(key[1] in forms for journal in (LEDGER, HISTORY) for key in self._end.get(journal, {}))

    def _without_receipt(self) -> Iterator[Violation]:
        receipts = {key[1] for key in self._end.get(RECEIPTS, {})}
        lines = {key[1]: journal for journal in (LEDGER, HISTORY) for key in self._end.get(journal, {})}
        for request, journal in lines.items():
            if request not in receipts:
                yield self._violation(
                    ViolationKind.TORN, str(request), f"a receipt beside its lines in {journal}", "none"
                )

    def _by_the_rules(self) -> Iterator[Violation]:
        """Yield the first receipt that is not what the rules give; if there is none, rows that are not."""
        begin = partial(Reference, self.player, self._history.start, self._draws.chance, self._draws.epochs)
        reference = begin()
        for place, kept in enumerate(self.new):
            done = reference.carry_out(kept)
            if done != kept.granted:
                # What comes after it follows from it, and would only be named once more.
                yield explaining.of_command(Executed(self.player, begin, self.new[:place]), kept, done)
                return
        if list(self._without_receipt()) or list(self._unnumbered()):
            return  # Something was done of which it is not known when, or what: there is nothing to compare with.
        executed = Executed(self.player, begin, self.new)
        violations: list[Violation] = []
        for expected in reference.rows:
            violations = [
                *explaining.of_rows(executed, expected, self._end),
                *self._opening(expected.get(OPENINGS, {})),
            ]
            if not violations:
                return
        yield from violations

    def _opening(self, expected: Mapping[Key, Record]) -> Iterator[Violation]:
        opening = self._end.get(OPENINGS, {})
        if self.new and opening != expected:
            yield self._violation(ViolationKind.TORN, "", f"the opening {dict(expected)}", str(dict(opening)))


def _request(key: Key) -> str:
    return str(key[1]) if len(key) > 1 else ""


def _kept_as_it_was(before: Record, now: Record) -> bool:
    """Return True if nothing changed; a receipt of an earlier version may have got its number since."""
    return all(now[name] == value for name, value in before.items() if value is not None or name not in GIVEN_LATER)
