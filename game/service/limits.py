"""The limits of a connection of a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection. The proxy in front should have the same or smaller limits."""

    request_seconds: float = 10.0
    """For a request's head and body, from its first byte; for a new connection from its beginning."""
    send_seconds: float = 10.0
    """For the client to read an answer."""
    head_bytes: int = 32 * 1024
    request_bytes: int = 256 * 1024
    """Head and body, as sent. A body of 64 KB may come in chunks, each with a header of its own."""
    parts: int = 1000
    """Headers and chunks. Each costs a call of Python: 240 KB of chunks of one byte would take 0.1 s of the process."""
