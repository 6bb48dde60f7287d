"""Crashes a throwaway server: one of its processes is killed, and it ends all sessions and recovers from its log."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from db.servers import Server


def crash(server: Server) -> None:
    """Kill a process of the server by a signal, and return once our own session has ended. New sessions may wait."""
    with suppress(psycopg.OperationalError), server.admin() as admin:
        row = admin.execute("select pid from pg_stat_activity where backend_type = 'checkpointer'").fetchone()
        assert row is not None, "every server has one"
        admin.execute(f"copy (select where false) to program 'trap \"\" QUIT; kill -KILL {row[0]}; true'".encode())
        admin.execute("select pg_sleep(10)")


def answers(server: Server) -> bool:
    """Return True once the server takes sessions again."""
    with suppress(psycopg.OperationalError), server.admin():
        return True
    return False
