"""The HTTP server of one process: uvicorn, with our connections on the ports that it is given."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from game.service.connections import KEEP_ALIVE_SECONDS, Connection, Door
from game.service.descriptors import ACCEPTED_AT_ONCE
from game.service.process import WAITING

TURNS = 4
"""Turns of the loop for which a new connection keeps its place, however many follow it."""

GRACE_SECONDS = 8
"""For requests in flight when the process is told to stop."""


class UvicornServer(uvicorn.Server):
    """uvicorn's server, with more connections waiting in the kernel than asyncio accepts at once."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does; then let the kernel keep `WAITING` connections on each socket."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(WAITING)


def server(app: FastAPI, doors: Mapping[int, Door]) -> UvicornServer:
    """Return the server for the application. doors: by port; `run` is given a listening socket for each."""
    most = min((door.most for door in doors.values() if not door.private), default=TURNS * ACCEPTED_AT_ONCE)
    config = uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], partial(Connection, doors=doors)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # A connection is read a turn of the loop after it was accepted. A flood must not displace it before that.
        backlog=max(1, min(ACCEPTED_AT_ONCE, most // TURNS)),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    config.load()
    return UvicornServer(config)
