"""Defects that the checks of a rollback must find, beside those that both ways share: how each is planted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from db import ops
from game.legacy import sqlite_values
from tests.db.cutover.cutover_world import World
from tests.db.cutover.planted_defects import ON_THE_WAY_BACK, defect, given, keeping

__all__ = ["ON_THE_WAY_BACK"]


@defect("transactions", "a transaction that keeps a table", ON_THE_WAY_BACK)
def _transaction_back(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
    with keeping(world.owner.conninfo):
        yield


given(
    "writes that are given up",
    "a loss that is not the one",
    lambda _: {"discard_writes": True, "accept_loss": 7},
    ON_THE_WAY_BACK,
)


def on_the_way_back(check: str, name: str, plant: str, back: str) -> None:
    """A defect of the Postgres that serves the game, planted by the server's superuser and taken back."""

    @defect(check, name, ON_THE_WAY_BACK)
    def _planted(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
        names = {"db": world.owner.dbname, "owner": world.owner.user, "schema": world.owner.schema}
        with ops.connect(world.superuser.with_(dbname=world.owner.dbname)) as conn:
            conn.execute(plant.format(**names))
            yield
            conn.execute(back.format(**names))


on_the_way_back(
    "rights",
    "a role that may not make the schema",
    'revoke create on database "{db}" from {owner}',
    'grant create on database "{db}" to {owner}',
)
on_the_way_back(
    "where the move stands",
    "a phase before the move",
    "update ops.phase set phase = 'empty'",
    "update ops.phase set phase = 'live'",
)
on_the_way_back(
    "players",
    "a player whom Postgres lacks",
    "set session_replication_role = replica;"
    " update {schema}.users set id = id || '-gone' where id = (select min(id) from {schema}.users)",
    "update {schema}.users set id = left(id, -5) where id like '%-gone'",
)


@defect("legacy file", "a damaged legacy file", ON_THE_WAY_BACK)
def _damaged(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
    path = world.env.legacy.path
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        query = "SELECT max(rootpage) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'users'"
        (page,) = connection.execute(query).fetchone()
    whole = path.read_bytes()
    path.write_bytes(whole[: page * size - 64] + bytes(64) + whole[page * size :])
    yield
    path.write_bytes(whole)
