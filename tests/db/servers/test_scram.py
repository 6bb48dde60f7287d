"""One round of SCRAM's hash lets in who knows the password, and nobody else."""

from __future__ import annotations

import secrets
from dataclasses import replace

import psycopg
import pytest

from db.servers import Server, scram
from db.servers.server_info import Role
from game.urls import PostgresUrl


@pytest.mark.parametrize("kind", ["owner", "service"])
def test_a_role_is_let_in_by_its_own_password_alone(server: Server, kind: Role) -> None:
    url = server.url("postgres", kind)
    with psycopg.connect(url.conninfo) as conn:
        assert conn.execute("select current_user").fetchone() == (url.user,)
    stranger: PostgresUrl = replace(url, password=secrets.token_urlsafe(16))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stranger.conninfo)


def test_what_is_kept_of_a_password_is_another_text_each_time() -> None:
    password = secrets.token_urlsafe(16)
    kept = {scram.quick(password) for _ in range(3)}
    assert len(kept) == 3
    assert not any(password in one for one in kept)
