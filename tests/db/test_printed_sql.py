"""SQL that a refusal prints is run as printed, for a role, a database, a schema and a table with names in capitals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db import environments, ops
from db.cutover import target_checks
from db.errors import Refusal
from db.servers import Server
from db.snapshots import postgres
from tests.fixtures.own_roles import OwnDatabase, own_database

SCHEMA = "Game"


def check_rights(own: OwnDatabase, folder: Path) -> None:
    """Check the owner's rights as a cutover does."""
    env = environments.throwaway(owner=own.owner, service=own.service, legacy=folder / "game.db", folder=folder)
    env = dataclasses.replace(env, target_direct=own.owner.with_(schema=SCHEMA))
    target_checks.check_rights(cast(Any, SimpleNamespace(env=env)), puts_away=False)


def check_createdb(own: OwnDatabase, folder: Path) -> None:
    """Check, as a snapshot does, that the owner may make the scratch database."""
    with ops.connect(own.owner) as conn:
        if not postgres.may_create_databases(conn):
            raise postgres.no_createdb(own.owner)


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ('ALTER ROLE "{owner}" NOCREATEDB', check_createdb),
        ('ALTER DATABASE "{database}" OWNER TO current_user', check_rights),
        (f'CREATE SCHEMA "{SCHEMA}"', check_rights),
        (f'CREATE SCHEMA "{SCHEMA}" AUTHORIZATION "{{owner}}"; CREATE TABLE "{SCHEMA}"."Notes" ()', check_rights),
    ],
    ids=["no right to create databases", "no right to create schemas", "another's schema", "another's table"],
)
def test_a_printed_remedy_mends_what_it_names(
    server: Server, tmp_path: Path, statement: str, check: Callable[[OwnDatabase, Path], None]
) -> None:
    with own_database(server, letters="Select_") as own:
        check(own, tmp_path)
        own.run(statement.format(owner=own.owner.user, database=own.owner.dbname))
        with pytest.raises(Refusal) as refused:
            check(own, tmp_path)
        own.run(refused.value.do)
        check(own, tmp_path)
