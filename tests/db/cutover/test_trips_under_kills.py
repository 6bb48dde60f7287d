"""There and back while players play, and everything is killed: nothing is lost, nothing doubled, and no dead end.

A run makes one round trip; `--exhaustive`, as every night, ten. The seed is printed: `--trips-seed SEED` runs it again.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.servers import Server
from db.servers.vitals import lasting
from harness.history.violations import GRANTED_TOO_OFTEN, ViolationKind
from harness.rehearsal import comparison
from tests.db.cutover.trips_under_kills import made

TRIPS, EVERY_NIGHT = 1, 10
ACKNOWLEDGED = 2_000
"""Of each trip by night, so 20,000 of all; 300 of the one of a run."""

A_FEW = 300


@pytest.fixture
def own_server(server: Server) -> Iterator[Server]:
    """A server of this test's own: a crash takes every session of its server."""
    with lasting(server.kind if server.kind in ("docker", "local") else None) as (own, _):
        yield own


def test_round_trips_under_kills_lose_nothing_and_double_nothing(
    own_server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    exhaustive = bool(request.config.getoption("--exhaustive"))
    given = request.config.getoption("--trips-seed")
    seed = secrets.randbelow(2**32) if given is None else int(given)
    trips, least = (EVERY_NIGHT, ACKNOWLEDGED) if exhaustive else (TRIPS, A_FEW)
    print(f"\nround trips under kills: --trips-seed {seed}", flush=True)
    with made(own_server, tmp_path, seed) as game:
        for number in range(trips):
            game.trip(least * (number + 1))
        judged = game.judged()
    kinds = Counter(violation.kind for violation in judged.violations)
    doubled = sum(kinds[kind] for kind in GRANTED_TOO_OFTEN)
    print(
        f"seed {seed}: {trips} round trips, {game.runs} runs of the tool, {game.undone} undone; killed:"
        f" {dict(game.struck)}; acknowledged {game.acknowledged:,}, lost {kinds[ViolationKind.VANISHED]},"
        f" doubled {doubled}, dead ends {len(game.dead_ends)}; {judged.figures}; across {judged.across}"
    )
    assert game.dead_ends == []
    assert judged.violations == ()
    assert game.users.answers.wrong == []
    assert game.acknowledged >= least * trips
    acted = {one.player for one in game.users.answers.requests}
    assert comparison.compare(tmp_path / "before.db", tmp_path / "game.db", acted).differences == []
