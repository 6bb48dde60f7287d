"""One process of the service: `python -m game.service.child LISTENER PRIVATE SAYS`, descriptors from its supervisor.

It loads, says so on SAYS, and serves on LISTENER and PRIVATE as soon as its standard input tells it to.
When that closes, however the supervisor died, the process ends too.
"""

from __future__ import annotations

import gc
import socket
import sys


def main() -> int:
    """Serve until SIGTERM; the exit code."""
    gc.disable()  # Nothing of what is loaded is garbage; to look for some takes a fifth of the time.
    from game.service import serving  # noqa: PLC0415  # it loads everything else

    *listeners, says = map(int, sys.argv[1:])
    public, private = (socket.socket(fileno=listener) for listener in listeners)
    return serving.serve(public, private, says)


if __name__ == "__main__":
    sys.exit(main())
