"""One process of the service: `python -m game.service.child LISTENER SAYS`, two descriptors from its supervisor.

It loads, says so on SAYS, and serves on LISTENER as soon as its standard input tells it to. When that closes, however
the supervisor died, the process ends too.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

import uvicorn

from game import settings
from game.errors import BadSettings
from game.service.app import create_app
from game.service.process import LOADED, SERVE
from game.service.watching import configure_logs
from game.settings import Settings
from game.stores import open_store

POOL_SIZE = 10
GRACE_SECONDS = 8
"""For requests in flight when the process is told to stop."""


def main() -> int:
    """Serve until SIGTERM; the exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # The supervisor waits with its signals blocked; that is inherited.
    configure_logs()
    listener, says = map(int, sys.argv[1:])
    try:
        server = _server(settings.load())
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    os.write(says, LOADED)
    os.close(says)
    if os.read(sys.stdin.fileno(), 1) != SERVE:
        return 1
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=listener)])
    return 0


def _server(now: Settings) -> uvicorn.Server:
    app = create_app(
        open_store(now.database_url.get_secret_value(), pool_size=POOL_SIZE),
        chance_secret=now.chance_secret.get_secret_value(),
        operator_token=now.operator_token.get_secret_value() if now.operator_token else None,
        threads=POOL_SIZE,
    )
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_SECONDS
    )
    config.load()
    return uvicorn.Server(config)


def _end_with_the_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    late = threading.Timer(GRACE_SECONDS, os._exit, (1,))
    late.daemon = True
    late.start()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
