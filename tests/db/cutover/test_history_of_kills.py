"""Players play on while moves and the service are killed anywhere: the history checker judges what they were told.

The clients ask over HTTP, keep each request until it is answered, and now and then never come back for the answer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pytest

from db import ops
from db.cutover import services
from db.environments import Policy
from game.legacy import sqlite_values
from game.rules.chance import Chance
from game.service import tokens
from game.stores import open_store
from game.urls import LegacyUrl, PostgresUrl
from harness.history.checking import Judged
from harness.history.recording import HistoryRecorder, heads
from harness.history.violations import ViolationKind
from harness.load import scripts
from harness.load.virtual_users import VirtualUsers
from tests.db.cutover.cutover_world import (
    CHANCE_SECRET,
    TOKEN_SECRET,
    World,
    run_cutover,
    run_rollback,
    wait_until,
    world,
)

__all__ = ["world"]

KILLED = -signal.SIGKILL
PATIENT = Policy(freeze_budget_seconds=86_400, max_held=100, watch_seconds=0)
"""A run that is killed again and again keeps players waiting for longer than any budget."""

A_FEW, MANY = 4, 12


@dataclass(frozen=True)
class Played:
    """A world with players at it, and their history."""

    world: World
    users: VirtualUsers
    recorder: HistoryRecorder

    def dies(self, step: str, verb: object, when: str = "after") -> None:
        """Have a run killed at a step, while some ask for something."""
        self.users.allow(A_FEW)
        assert self.world.dies(when, step, verb) == KILLED, step  # type: ignore[arg-type]  # one of the two verbs

    def switched(self, store: PostgresUrl | LegacyUrl) -> None:
        """Note that this store is left; it is fenced, or has moved."""
        self.recorder.switched(heads(store))

    def judged(self, store: PostgresUrl | LegacyUrl) -> Judged:
        """Play on, and judge all until now by what the store has."""
        self.users.play(MANY)
        assert self.users.answers.wrong == []
        with closing(open_store(store.as_text())) as opened:
            return self.recorder.judge(self.users.answers.requests, opened)


@pytest.fixture
def played(world: World) -> Iterator[Played]:
    patient = world.with_(policy=PATIENT)
    planned = scripts.read(world.before, players=10)
    with closing(open_store(world.env.legacy.as_text())) as store:
        recorder = HistoryRecorder(store, planned, partial(Chance, CHANCE_SECRET))
    token_of = partial(tokens.issue, TOKEN_SECRET)
    with VirtualUsers(world.env.services, planned, token_of=token_of, clients=2) as users:
        users.play(MANY)
        yield Played(patient, users, recorder)


def test_a_cutover_and_a_rollback_killed_after_their_steps_keep_every_history(played: Played) -> None:
    env = played.world.env
    for step in ("snapshot", "migrate", "copy", "switch", "smoke", "live"):
        played.dies(step, run_cutover)
    assert played.world.cutover().verdict == "live"
    played.switched(env.legacy)
    judged = played.judged(env.target)
    assert judged.violations == ()
    assert judged.across[0] > 0

    for step in ("fence Postgres", "carry back", "switch", "smoke", "return"):
        played.dies(step, run_rollback)
        if step == "carry back":
            played.switched(env.target_direct)
    assert played.world.rollback().verdict == "returned"
    judged = played.judged(env.legacy)
    assert judged.violations == ()
    assert judged.across[1] > 0
    figures = judged.figures
    print(f"figures | {figures} | across {judged.across} |")
    assert figures.receipts > 3 * MANY


def test_a_cutover_that_is_killed_and_aborted_keeps_every_history(played: Played) -> None:
    """Grants of before stay; draws are of another epoch from then on."""
    for step in ("copy", "smoke"):
        played.dies(step, run_cutover)
        assert played.world.cutover(abort=True).verdict == "undone"
        judged = played.judged(played.world.env.legacy)
        assert judged.violations == (), step
    assert judged.figures.receipts > 2 * MANY


def test_a_service_that_is_killed_while_it_answers_keeps_every_history(played: Played) -> None:
    env = played.world.env
    for _ in range(3):
        before = services.ask(env.services[0])
        assert before is not None
        played.users.allow(MANY)
        os.kill(before.pid, signal.SIGKILL)
        wait_until(partial(_another, before))
        judged = played.judged(env.legacy)
        assert judged.violations == ()
    assert judged.figures.receipts > 3 * MANY


def test_writes_that_a_rollback_discards_are_named_one_by_one(played: Played) -> None:
    """The one way back that loses something on purpose: the checker says what."""
    env = played.world.env
    played.world.cutover()
    played.switched(env.legacy)
    kept = {request.key for request in played.users.answers.requests.grants}
    assert played.judged(env.target).violations == ()
    lost = {request.key for request in played.users.answers.requests.grants} - kept
    with ops.connect(env.target_direct) as conn, closing(sqlite_values.connect(env.legacy.path)) as file:
        (there,), (here,) = (
            of.execute(f"select count(*) from {table}").fetchone() or (0,)
            for of, table in ((conn, "action_receipts"), (file, "sudamr_action_receipts"))
        )
    played.world.rollback(discard_writes=True, accept_loss=there - here)
    with closing(open_store(env.legacy.as_text())) as opened:
        judged = played.recorder.judge(played.users.answers.requests, opened)
    with closing(sqlite_values.connect(env.legacy.path)) as file:
        kept |= set(
            file.execute("SELECT user_id, request_id FROM sudamr_action_receipts")
        )  # Some were asked for again.
    assert judged.kinds - {ViolationKind.ANSWERED_DIFFERENTLY} == {ViolationKind.VANISHED}
    assert lost - kept
    assert lost - kept <= {(violation.player, violation.request) for violation in judged.violations}


def _another(before: services.Ready) -> bool:
    """Return True if another process answers at the same place."""
    now = services.ask(before.url)
    return now is not None and now.process != before.process
