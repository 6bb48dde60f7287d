"""The rehearsal: the whole move and the way back, on throwaway copies, the real service under load from real clients.

A gate moves there and back once more after it, with the game stopped: the other way in which each can be made.

It proves that nothing is lost: after each move the history checker judges what clients were answered and what the store
has, and what nobody touched comes back byte for byte.
Some 40 s for 500 players. Nothing of it stays, however it ends.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from db.console.live_screen import shown_by
from db.console.progress import Progress
from db.counts import lines_of
from db.cutover import moves
from db.cutover.context import FAILURES, PREFLIGHT, RunConfig
from db.cutover.ports import SmokeResult, When
from db.cutover.report import LiveFigures, RunReport
from db.environments import Environment
from db.errors import Inconclusive, Refusal, ToolError
from game.rules.chance import Chance
from game.stores import open_store
from game.urls import LegacyUrl, PostgresUrl
from harness.history.recording import HistoryRecorder, heads
from harness.history.violations import GRANTED_TOO_OFTEN
from harness.load import scripts
from harness.load.virtual_users import CLIENTS, AnswerLog, VirtualUsers
from harness.rehearsal import comparison
from harness.rehearsal.report import FAIL, INCONCLUSIVE, PASS, Leg, RehearsalReport
from harness.rehearsal.setup import RehearsalSetup, set_up
from harness.smoke import smoke

SLICES_OF_A_MOVE = 4.5
"""The scripts are cut into one slice and so many for each move. One before the moves and one after each is waited for;
of the other three and a half as much is done as there is time for. So enough is left on a slow machine too."""

MOST_IN_A_SLICE = 200
SLICES_WHILE_OPEN = 2
STEPS_OF_A_SLICE = 8
"""Slices allowed at the beginning of a move, where nothing is fenced yet; and then of a slice at each of its steps."""

MOST_PLAYERS = 30
"""Few enough that each is asked often on either side of a switch: the pairs in real time grow with the square."""

Recorded: TypeAlias = Callable[[Path, Leg], None]

LEAST_PLAYERS = 10
"""The least players who ask all the time. A smaller file leaves nobody who asks in the burst alone."""

SEED = 1
"""The seed of the players' scripts and of the clients' moods."""

SHOWN_PROBLEMS = 20

BURST = 50
LEAST_HELD = 20
"""Requests that are sent at once as a window begins, and how many of them have to meet it; fewer with few players."""

KEPT_REQUESTS = 4
"""The requests of a player who asks only in the two bursts."""

WINDOW = "window"
"""The first part of a live move's window, at which nothing is fenced yet."""

LOCKED = "lock"
"""The part of a live rollback's window that locks Postgres: before it, who comes is served and gone in moments."""

LAST_WAIT = "sent"
"""The last part of a live rollback's window before its COMMIT: who wrote waits for the lock of Postgres."""

SWITCH = "switch"
"""The step of both moves before which the store that is left is fenced, and is still where it was."""


def rehearse(
    players: int,
    source: Path | None,
    kind: str | None,
    progress: Progress,
    *,
    offline: bool = False,
    both_ways: bool = False,
    recorded: Recorded | None = None,
) -> RehearsalReport:
    """Rehearse with that many made players, or with a copy of `source`, on a throwaway server of the kind asked for.

    offline: both moves are made with the game read-only for the whole copy; else while players play. both_ways: after
    the way back, both are made offline too. recorded: called after each move with the folder of its run, which is not
    kept, and with what clients saw.
    Refusal: no such file, or not a game's; no server of that kind. Lost: the server or the machine was lost, outside a
    move. What goes wrong after that is the report's verdict.
    """
    if source is None and players < 1:
        raise Refusal(
            "one player at least",
            str(players),
            do="Nothing was begun. Say how many: --players 200, or name a file: --legacy FILE",
        )
    began = time.monotonic()
    with set_up(players, source, kind, progress) as setup:
        able = len(scripts.read(setup.source, players=MOST_PLAYERS + 2 * BURST, seed=SEED))
        asking = min(MOST_PLAYERS, able if offline else max(LEAST_PLAYERS, able // 2))
        planned = scripts.read(setup.source, players=asking, seed=SEED)
        kept = {} if offline else _kept(setup.source, planned)
        token_of = setup.service.token_of
        with VirtualUsers(setup.service.public_urls, planned, token_of=token_of, seed=SEED, kept=kept) as users:
            moves_made = 4 if both_ways else 2
            rehearsal = Rehearsal(setup, users, planned, progress, kept=kept, moves_made=moves_made, recorded=recorded)
            outward, way_back = rehearsal.there_and_back(live=not offline)
            offline_legs = rehearsal.offline(way_back) if both_ways else ()
        answers = users.answers
        verdicts = [leg.verdict for leg in (outward, way_back, *offline_legs)]
        return RehearsalReport(
            **_fields(outward) | {"verdict": _worst(*verdicts)},
            engine={
                "kind": setup.server.kind,
                "version": setup.server.version,
                "programs": f"pg_dump {setup.server.tool('pg_dump').version()}",
            },
            players=setup.players,
            held=rehearsal.held,
            refused=len(answers.requests.refusals),
            dropped=answers.dropped,
            seconds=round(time.monotonic() - began, 1),
            rollback=way_back,
            offline=offline_legs[0] if offline_legs else None,
            offline_rollback=offline_legs[1] if offline_legs else None,
        )


class Rehearsal:
    """Before, there, after, back, after: the moves, with players at it all the while."""

    def __init__(
        self,
        setup: RehearsalSetup,
        users: VirtualUsers,
        planned: Mapping[str, scripts.Script],
        progress: Progress,
        *,
        kept: Mapping[str, scripts.Script] = {},
        moves_made: int = 2,
        recorded: Recorded | None = None,
    ) -> None:
        self._live = False
        self._recorded = recorded
        self._held_requests = 0
        self._closed_at = 0.0
        self._locked = threading.Event()
        self._least_held = min(LEAST_HELD, len(kept) // 2)
        self._setup = setup
        self._users = users
        self._slice = _slice(planned, moves_made)
        self._progress = progress
        self._leaving: PostgresUrl | LegacyUrl = setup.environment.legacy
        with closing(open_store(self._leaving.as_text())) as store:
            self._history = HistoryRecorder(store, {**planned, **kept}, partial(Chance, setup.service.chance_secret))
        self.held = 0

    def there_and_back(self, *, live: bool) -> tuple[Leg, Leg]:
        """Rehearse the way there and, where that passed, the way back. live: players play meanwhile, both ways."""
        self._progress.say("players play on the legacy file")
        self._users.play(self._slice)
        outward = self._there(live=live)
        if outward.verdict != PASS:
            return outward, Leg(INCONCLUSIVE, problems=("not tried: the way there did not pass",))
        return outward, self._back(live=live)

    def offline(self, before: Leg) -> tuple[Leg, Leg]:
        """Rehearse both ways once more where the leg before them passed, with the game stopped."""
        if before.verdict != PASS:
            untried = Leg(INCONCLUSIVE, problems=("not tried: the way back did not pass",))
            return untried, untried
        there = self._there(live=False)
        if there.verdict != PASS:
            return there, Leg(INCONCLUSIVE, problems=("not tried: the offline way there did not pass",))
        return there, self._back(live=False)

    def _there(self, *, live: bool) -> Leg:
        cut_over = partial(moves.cut_over, evidence=_no_evidence)
        return self.leg(cut_over, self._setup.environment.target, self._loaded, live=live)

    def _back(self, *, live: bool) -> Leg:
        return self.leg(moves.roll_back, self._setup.environment.legacy, self._returned, live=live)

    def leg(
        self,
        verb: Callable[..., RunReport],
        store: PostgresUrl | LegacyUrl,
        counts: Callable[[RunReport], dict[str, Any]],
        *,
        live: bool = False,
    ) -> Leg:
        """Run one move, let players play on the store that it ends on, and count.

        counts: what the move's report says of values, under a Leg's names, and `problems`. Refusal: it was not begun.
        A server that was lost makes it inconclusive, whatever else was found.
        """
        try:
            leg = self._leg(verb, store, counts, live=live)
        except (ToolError, *FAILURES) as error:
            if isinstance(error.__cause__, KeyboardInterrupt):  # The move was undone because of it.
                raise error.__cause__ from None
            if cause := self._setup.vitals.cause(error):
                return Leg(INCONCLUSIVE, problems=(cause, str(error)))
            if isinstance(error, Refusal) or not isinstance(error, ToolError):
                raise
            return Leg(INCONCLUSIVE if isinstance(error, Inconclusive) else FAIL, problems=(str(error),))
        if leg.verdict != PASS and (cause := self._setup.vitals.cause()):
            return dataclasses.replace(leg, verdict=INCONCLUSIVE, problems=(cause, *leg.problems))
        return leg

    def _leg(
        self,
        verb: Callable[..., RunReport],
        store: PostgresUrl | LegacyUrl,
        counts: Callable[[RunReport], dict[str, Any]],
        *,
        live: bool,
    ) -> Leg:
        since = time.monotonic()
        self._live, self._closed_at = live, 0.0
        report = verb(
            self._setup.environment,
            RunConfig(
                self._smoke,
                offline=not live,
                tools=self._setup.server.tool,
                progress=self._progress,
                view=shown_by(self._progress),
                observer=self._observe,
                folder=self._setup.folder / "runs",
                operator_token=self._setup.service.operator_token,
            ),
        )
        self._progress.say(f"players play on {'Postgres' if isinstance(store, PostgresUrl) else 'the legacy file'}")
        self._users.play(self._slice)
        answers = self._users.answers
        if self._closed_at:  # On Postgres they wait for a lock, and the service holds few of them.
            self._held_requests = sum(sent <= self._closed_at <= ended for sent, ended in answers.spans)
        with closing(open_store(store.as_text())) as opened:
            judged = self._history.judge(answers.requests, opened)
        self._leaving = store
        moved = counts(report)
        problems = [*answers.wrong, *map(str, judged.violations), *moved.pop("problems", ())]
        refused = answers.told_to_wait(since)
        too_often = sum(violation.kind in GRANTED_TOO_OFTEN for violation in judged.violations)
        shown = lines_of(problems, SHOWN_PROBLEMS, "problems")
        leg = Leg(
            verdict=PASS,
            **moved,
            acknowledged=len(answers.requests.grants),
            missing=len(judged.violations) - too_often,
            duplicated=too_often,
            retried=answers.retried,
            predicted_seconds=report.predicted_seconds,
            read_only_seconds=report.read_only_seconds or 0.0,
            freeze_seconds=round(answers.freeze(since, refused_only=live), 3),
            history=judged.figures,
            refused_during_move=refused.total(),
            **(_live_figures(report.live, report.counts, self._held_requests) if report.live else {}),
            steps=report.steps,
            problems=tuple(shown),
        )
        if self._recorded is not None:
            self._recorded(Path(report.journal), leg)
        return _judged(leg, list(_doubts(leg, answers, since, least_held=self._least_held if live else None)))

    def _loaded(self, report: RunReport) -> dict[str, Any]:
        self.held = report.counts["held"]
        return {name: report.counts[name] for name in ("source", "loaded", "quarantined", "mismatches")}

    def _returned(self, _report: RunReport) -> dict[str, Any]:
        """Check that the rest came back as it was: nothing is quarantined on the way back."""
        acted = {request.player for request in self._users.answers.requests}
        untouched = comparison.compare(self._setup.source, self._setup.legacy, acted)
        return {
            "source": untouched.cells,
            "loaded": untouched.cells - untouched.differing,
            "mismatches": untouched.differing,
            "problems": untouched.differences,
        }

    def _observe(self, when: When, step: str) -> None:
        """Let players go on asking before every step, also while they are locked out."""
        if when == "before":
            some = max(CLIENTS, self._slice // STEPS_OF_A_SLICE)
            self._users.allow(self._slice * SLICES_WHILE_OPEN if step == PREFLIGHT else some)
        if (when, step) == ("at", WINDOW):
            self._locked = threading.Event()
            self._users.burst(BURST, at=self._locked if isinstance(self._leaving, PostgresUrl) else None)
        if (when, step) == ("at", LOCKED):
            self._locked.set()
        if (when, step) == ("at", LAST_WAIT):
            self._closed_at = time.monotonic()
        if (when, step) == ("before", SWITCH) and self._live:
            self._held_requests = self._setup.service.held()
        if (when, step) == ("before", SWITCH):
            self._history.switched(heads(self._leaving))

    def _smoke(self, services: Sequence[str], store: PostgresUrl | LegacyUrl, *, pass_token: str) -> SmokeResult:
        owner = self._setup.environment.target_direct if isinstance(store, PostgresUrl) else store
        return smoke.run(services, owner, pass_token=pass_token, operator_token=self._setup.service.operator_token)


def _kept(source: Path, planned: Mapping[str, scripts.Script]) -> dict[str, scripts.Script]:
    """Return short scripts of other players, for the burst alone: a service serves few requests of one at once."""
    others = scripts.read(source, players=2 * BURST, seed=SEED)
    return {player: script[:KEPT_REQUESTS] for player, script in others.items() if player not in planned}


def _live_figures(figures: LiveFigures, counts: Mapping[str, int], held: int) -> dict[str, Any]:
    return {
        "window_seconds": round(figures.window_ms / 1000, 4),
        "rounds": figures.rounds,
        "held_requests": held,
        "proofs": {
            "rows": {"players": counts["players"], "mismatches": counts["mismatches"]},
            "independent": {
                name: counts[f"independent_{name}"] for name in ("players", "compared", "left_out", "mismatches")
            },
            "instant": dict(figures.instant),
        },
    }


def _no_evidence(env: Environment) -> None:
    """Demand no evidence: a rehearsal is what evidence is made of."""
    del env


def _slice(planned: Mapping[str, scripts.Script], moves_made: int) -> int:
    slices = 1 + SLICES_OF_A_MOVE * moves_made
    return max(1, min(MOST_IN_A_SLICE, int(sum(map(len, planned.values())) / slices)))


def _judged(leg: Leg, doubts: list[str]) -> Leg:
    """Return the leg with its verdict: FAIL for any problem or difference, else INCONCLUSIVE with doubts, else PASS."""
    if leg.problems or leg.mismatches or leg.missing or leg.duplicated or leg.source != leg.loaded + leg.quarantined:
        return dataclasses.replace(leg, verdict=FAIL)
    return dataclasses.replace(leg, verdict=INCONCLUSIVE if doubts else PASS, problems=tuple(doubts))


def _doubts(leg: Leg, answers: AnswerLog, since: float, *, least_held: int | None) -> Iterator[str]:
    """Return what would have to have happened for the leg to prove anything, and did not.

    least_held: how many requests have to meet the window of a live move; None of another.
    """
    live = least_held is not None
    if not answers.newly_granted(since):
        yield "nothing was granted during the move or after it: there was too little to do"
    if live and (refused := answers.told_to_wait(since)):
        codes = ", ".join(f"{number} with {code}" for code, number in sorted(refused.items()))
        yield f"players were told to come back while the game was moved live: {codes}"
    if least_held is not None and leg.held_requests < least_held:
        yield f"{leg.held_requests} requests met the window, not {least_held} at least"
    if not live and not answers.locked_out(since):
        yield "no request had to wait: nobody noticed the move"
    if not leg.retried:
        yield "no request was sent twice"
    if not leg.history.across_switch:
        yield "no player was answered by both stores: nothing shows that the order was kept over the switch"


def _worst(*verdicts: str) -> str:
    return next(verdict for verdict in (FAIL, INCONCLUSIVE, PASS) if verdict in verdicts)


def _fields(leg: Leg) -> dict[str, Any]:
    return {each.name: getattr(leg, each.name) for each in dataclasses.fields(leg)}
