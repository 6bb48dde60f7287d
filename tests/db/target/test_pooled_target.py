"""An environment whose `target` is a real pgbouncer and whose `target_direct` is the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db import environments, ops
from db.cutover import preflight
from db.errors import Refusal
from db.servers import Server
from harness.smoke import smoke
from tests.db.cutover.cutover_world import OPERATOR_TOKEN, made
from tests.fixtures.own_roles import OwnDatabase, own_database
from tests.fixtures.pgbouncer import let_go, pgbouncer, through


def test_a_cutover_and_the_way_back_by_way_of_a_pooler(server: Server, tmp_path: Path) -> None:
    played = partial(smoke.run, operator_token=OPERATOR_TOKEN)
    with made(server, tmp_path) as world, pgbouncer(server, "transaction") as port:
        pooled = world.with_(target=through(world.env.target, port))
        pooled.cutover(smoke=played)
        world.assert_whole_on_postgres()
        assert str(port) in world.env.pointer.path.read_text()
        played_there = world.act(0, "by-way-of-the-pooler").json()
        assert played_there["replayed"] is False

        pooled.rollback(smoke=played)
        assert (world.legacy_fence(), world.engine(), world.phase()) == ("open", "legacy", "returned")
        assert world.act(0, "by-way-of-the-pooler").json() == {**played_there, "replayed": True}
        let_go(through(world.owner, port), port)


@pytest.fixture
def own(server: Server) -> Iterator[OwnDatabase]:
    with own_database(server) as made:
        ops.prepare(made.owner, "test")
        yield made


def check(own: OwnDatabase, folder: Path, port: int, **changes: Any) -> None:
    """The server's part of the preflight."""
    env = environments.throwaway(
        owner=own.owner, service=through(own.service, port), legacy=folder / "game.db", folder=folder
    )
    preflight.check_server(cast(Any, SimpleNamespace(env=dataclasses.replace(env, **changes))))


def users(own: OwnDatabase) -> dict[str, str]:
    """The logins of the database's own roles, for pgbouncer's file."""
    return {url.user: url.password for url in (own.owner, own.service)}


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("dropped", ["", "options"], ids=["refused", "dropped"])
def test_a_pooler_of_transactions_or_of_sessions_will_do(
    own: OwnDatabase, server: Server, tmp_path: Path, mode: str, dropped: str
) -> None:
    with pgbouncer(server, mode, users=users(own), ignore_startup_parameters=dropped) as port:
        check(own, tmp_path, port)
        ops.prepare(own.owner, "test", service=through(own.service, port))
        let_go(through(own.owner, port), port)


def test_a_pooler_of_statements_is_refused_by_name(own: OwnDatabase, server: Server, tmp_path: Path) -> None:
    with pgbouncer(server, "statement", users=users(own)) as port:
        with pytest.raises(Refusal, match=r"keeps a transaction on one session; found .*statement pooling") as refused:
            check(own, tmp_path, port)
        assert "pool_mode = transaction" in refused.value.do
        let_go(through(own.owner, port), port)


def test_a_pooler_that_logs_in_as_another_role_is_refused_by_name(
    own: OwnDatabase, server: Server, tmp_path: Path
) -> None:
    forced = f"user={own.owner.user} password={own.owner.password}"
    with pgbouncer(server, "transaction", users=users(own), database=forced) as port:
        with pytest.raises(
            Refusal, match=f"the role {own.service.user} on the server; found the role {own.owner.user}"
        ):
            check(own, tmp_path, port)
        let_go(through(own.owner, port), port)


@pytest.mark.parametrize("setting", ["statement_timeout", "idle_session_timeout"])
def test_a_timeout_that_strikes_before_ours_is_set_is_refused_and_the_remedy_mends_it(
    own: OwnDatabase, server: Server, tmp_path: Path, setting: str
) -> None:
    own.alter("role", setting, "500ms")
    with pgbouncer(server, "transaction", users=users(own)) as port:
        with pytest.raises(
            Refusal, match=f"{setting} of 1000 ms or more, or none, behind a pooler; found 500 ms"
        ) as refused:
            check(own, tmp_path, port)
        own.run(refused.value.do)
        let_go(through(own.owner, port), port)
        check(own, tmp_path, port)
        let_go(through(own.owner, port), port)


@pytest.mark.parametrize("dropped", ["", "options"], ids=["refused", "dropped"])
def test_a_pooler_in_the_place_of_the_server_is_refused_by_name(
    own: OwnDatabase, server: Server, tmp_path: Path, dropped: str
) -> None:
    with pgbouncer(server, "transaction", users=users(own), ignore_startup_parameters=dropped) as port:
        with pytest.raises(Refusal, match="a direct connection; found a pooler between") as refused:
            check(own, tmp_path, port, target_direct=through(own.owner, port))
        assert "target_direct" in refused.value.do
        with pytest.raises(Refusal, match="a pooler between"):
            ops.prepare(through(own.owner, port), "test")
        let_go(through(own.owner, port), port)
