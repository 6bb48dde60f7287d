"""Imports and objects that every run needs once: done here before the first fork, each run is a third shorter.

Imported by the process that the runs are forked from, and by nobody else.
"""

from __future__ import annotations

from db.cutover import services
from harness.strikes import tool
from harness.strikes.runbooks import runbooks

__all__ = ["tool"]

runbooks()
services.asked("http://127.0.0.1:1")  # Nobody listens there; httpx imports its other half with the first request.
