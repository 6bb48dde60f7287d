"""Servers start, say what they are, and go."""

from __future__ import annotations

import psycopg

from db.servers import Server


def test_the_owner_may_make_a_database_and_the_service_may_enter_it(server: Server) -> None:
    name = f"{server.mark}owned"
    server.create_database(name)
    with psycopg.connect(server.url(name, "service").conninfo) as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("sudamr_service",)
    server.drop_database(name)
