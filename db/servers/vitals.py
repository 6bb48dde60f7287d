"""Tells whether a throwaway server, or the machine, was lost: then what failed on it proves nothing of the code.

A failure alone can't tell: a lost connection may be what a test provokes. So the server itself is asked, directly.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import psycopg
import tenacity

from db import servers
from db.errors import Failure, Inconclusive, ToolError
from db.servers.server import Server
from game.redaction import redact

ANSWER_SECONDS = 10.0
"""How long a busy server may take to let us in, before it counts as lost."""

LEAST_FREE_BYTES = 16 << 20
"""With less than this, a temporary folder is full: a WAL segment of Postgres has as much."""

_SIGNS = "select pg_postmaster_start_time(), (select stats_reset from pg_stat_bgwriter)"
"""When the server was started, and when a crash of one of its processes last made it begin anew."""

_OF_THE_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.ENFILE, errno.EROFS})
_OF_THE_SERVERS_MACHINE = ("53100", "53200", "58")
"""SQLSTATEs, or what they begin with: disk full, out of memory, errors of the system."""

Signs = tuple[datetime, datetime | None]


class Lost(Inconclusive):
    """The server or the machine was lost under the work; `found` says which, and how it shows."""


class Vitals:
    """The signs of life of a server, read when it was fresh. Raises Lost if it does not answer then."""

    def __init__(self, server: Server) -> None:
        self._server = server
        try:
            self._signs = _read(server)
        except psycopg.Error as error:
            raise lost(_silent(server, error)) from error

    def renew(self) -> None:
        """Read the signs again after a crash on purpose, so that it is not named as the cause of a later failure."""
        self._signs = _read(self._server)

    def cause(self, raised: BaseException | None = None) -> str:
        """Return what was lost, in words; empty if nothing was. raised: may tell of it.

        Asks the server for some ten seconds at most.
        """
        if raised is not None and (loss := cause_in(raised)):
            return loss
        if shutil.disk_usage(tempfile.gettempdir()).free < LEAST_FREE_BYTES:
            return f"no space left in {tempfile.gettempdir()}"
        try:
            signs = _read(self._server)
        except psycopg.Error as error:
            return _silent(self._server, error)
        if signs[0] != self._signs[0]:
            return f"the server {self._server} was restarted at {signs[0]:%H:%M:%S}"
        if signs[1] is not None and signs[1] != self._signs[1]:
            return f"a process of the server {self._server} crashed, and it began anew at {signs[1]:%H:%M:%S}"
        return ""


def silence(server: Server) -> str:
    """Return that the server no longer answers, and why; empty if it does. For one that a test crashes on purpose."""
    try:
        _read(server)
    except psycopg.Error as error:
        return _silent(server, error)
    return ""


def _read(server: Server) -> Signs:
    asking = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(ANSWER_SECONDS),
        reraise=True,
    )
    return asking(_ask, server)


def _ask(server: Server) -> Signs:
    timeout = int(ANSWER_SECONDS)  # A server that is paused accepts the connection, and says nothing.
    with psycopg.connect(server.maintenance.conninfo, autocommit=True, connect_timeout=timeout) as conn:
        row = conn.execute(_SIGNS).fetchone()
    assert row is not None
    return row[0], row[1]


def _silent(server: Server, error: psycopg.Error) -> str:
    return f"the server {server} no longer answers: {' '.join(redact(str(error)).split())}"


def lost(cause: str) -> Lost:
    """Return the error for a cause that was found."""
    return Lost(
        "the throwaway server and this machine to last",
        cause,
        do="Nothing is proven, and nothing is refuted. See to the cause, and run again.",
    )


def cause_in(error: BaseException) -> str:
    """Return what the error, or one that led to it, says of a loss; empty if it says nothing of that kind."""
    for each in _chain(error):
        if isinstance(each, Lost):
            return each.found
        if _is_of_the_machine(each):
            return " ".join(redact(str(each) or type(each).__name__).split())
    return ""


def _is_of_the_machine(error: BaseException) -> bool:
    match error:
        case MemoryError():
            return True
        case OSError():
            return error.errno in _OF_THE_MACHINE
        case psycopg.Error():
            return (error.sqlstate or "").startswith(_OF_THE_SERVERS_MACHINE)
        case sqlite3.Error():
            return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR"))
        case _:
            return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def lasting(kind: str | None, *, settings: Mapping[str, str] = {}) -> Iterator[tuple[Server, Vitals]]:
    """Start a server and yield it with its vitals; stop it at the end. settings: as `servers.start` takes them.

    Raises Lost if it does not start, and in place of whatever the block raises, if the server or the machine is lost by
    then. Raises Refusal if there is no server of that kind.
    """
    try:
        server = servers.start(kind, settings=settings)
    except Failure as error:
        raise lost(" ".join(str(error).split())) from error
    vitals: Vitals | None = None
    try:
        vitals = Vitals(server)
        yield server, vitals
    except Exception as error:  # Whatever it was: a lost server shows in any error, and the server must not stay.
        cause = vitals.cause(error) if vitals is not None and not isinstance(error, Lost) else ""
        remains = _stop(server)
        if not cause:
            raise
        raise lost(f"{cause}{f'; {remains}' if remains else ''}") from error
    except BaseException:  # Ctrl-C: the server must not stay.
        server.stop()
        raise
    if remains := _stop(server):
        raise lost(remains)


def _stop(server: Server) -> str:
    """Stop it, and return what could not be removed: whoever has lost a server still has to learn that."""
    try:
        server.stop()
    except ToolError as error:
        return " ".join(str(error).split())
    return ""
