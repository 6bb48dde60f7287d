"""Wait until a server answers us: until it lets our random password in, so that no stranger on the port can."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import tenacity

from db.errors import Failure
from db.servers.server_info import NO_TLS, Login
from game.urls import PostgresUrl

START_SECONDS = 60.0
POLL_SECONDS = 0.02


class ServerEnded(Exception):
    """The server ended before it answered."""


def wait(host: str, port: int, login: Login, *, ended: Callable[[], bool]) -> None:
    """Return when the server answers. Raises Ended when it ended instead, Failure after 60 s."""
    url = PostgresUrl(host, port, login.user, login.password, "postgres", parameters=NO_TLS)

    def knock() -> None:
        try:
            psycopg.connect(url.conninfo).close()
        except psycopg.OperationalError:
            if ended():
                raise ServerEnded from None
            raise

    try:
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
            wait=tenacity.wait_fixed(POLL_SECONDS),
            stop=tenacity.stop_after_delay(START_SECONDS),
            reraise=True,
        )(knock)
    except psycopg.OperationalError as error:
        raise Failure(
            f"the server to answer within {START_SECONDS:.0f} s", str(error).strip(), where=f"{host}:{port}"
        ) from None
