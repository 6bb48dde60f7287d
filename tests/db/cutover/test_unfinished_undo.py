"""An undo that stopped half way is known by what it left: a cutover finishes it, and a rollback names its command."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import environments
from db.cutover import cutover, refusals
from db.cutover.advice import PointerTo
from db.cutover.move_status import MoveStatus
from db.environments import Environment
from db.errors import Refusal
from db.ops import Phase
from game.legacy.fence_schema import FenceMark, Owner
from game.unit_of_work import FenceState
from game.urls import PostgresUrl

HERE, ELSEWHERE = Owner("run", "here/1"), Owner("run", "elsewhere/1")


def status(
    phase: Phase,
    legacy: FenceState = "open",
    owner: Owner | None = None,
    pointer: PointerTo = PointerTo.LEGACY,
    *,
    unfinished: bool = False,
) -> MoveStatus:
    return MoveStatus(phase, "run", "fenced", (), FenceMark(legacy, owner), "here/1", pointer, unfinished)


HALF_WAY = {
    "the file is closed": status(Phase.ABORTED, "fenced", HERE),
    "the file is closed, and nothing says why": status(Phase.EMPTY, "fenced", HERE),
    "the pointer names Postgres": status(Phase.ABORTED, pointer=PointerTo.TARGET),
    "the switch back was begun": status(Phase.ABORTED, unfinished=True),
}
ENDED = {
    "undone": status(Phase.ABORTED),
    "untouched": status(Phase.EMPTY),
    "closed by a move of another database": status(Phase.ABORTED, "fenced", ELSEWHERE),
    "returned": status(Phase.RETURNED),
    "under way": status(Phase.LOADING, "fenced", HERE),
}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    return environments.throwaway(owner=nowhere, service=nowhere, legacy=tmp_path / "game.db", folder=tmp_path)


@pytest.mark.parametrize("name", HALF_WAY)
def test_a_cutover_finishes_an_undo_that_stopped_half_way(name: str, environment: Environment) -> None:
    assert cutover.CUTOVER.undo_first(HALF_WAY[name])
    with pytest.raises(Refusal, match="open the legacy file: invoke cutover --env test --abort"):
        refusals.refuse_rollback_abort(HALF_WAY[name], environment)


@pytest.mark.parametrize("name", ENDED)
def test_of_whatever_has_ended_there_is_nothing_to_undo_first(name: str) -> None:
    assert not cutover.CUTOVER.undo_first(ENDED[name])
