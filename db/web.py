"""HTTP requests to the game's own service."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def authorities() -> ssl.SSLContext:
    """Return the certificate authorities, for httpx's `verify`.

    httpx reads them anew for each client, which costs 30 ms of processor time even for a URL of http://; the tools ask
    a service ten times a second while they wait for it.
    """
    return httpx.create_ssl_context(trust_env=False)
