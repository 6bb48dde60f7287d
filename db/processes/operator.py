"""Says who runs this process."""

from __future__ import annotations

import socket

import psutil


def name() -> str:
    """Return the user and the machine, such as `anna on db-1`."""
    return f"{psutil.Process().username()} on {socket.gethostname()}"
