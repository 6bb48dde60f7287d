"""Limits the connections of a process by the descriptors that it has."""

from __future__ import annotations

import resource

ACCEPTED_AT_ONCE = 64
"""asyncio accepts so many connections in a row, before it hands over the first, and writes a line of the log for each
one that it has no descriptor for."""

PRIVATE_CONNECTIONS = 32
"""Connections to the private port: the tools, the probes and Prometheus."""

OTHER_DESCRIPTORS = 2 * ACCEPTED_AT_ONCE + 48
"""Descriptors kept free for what is being accepted, for files, pipes and the log. The pool's come on top."""

FEWEST_CONNECTIONS = 16


def most_connections(wanted: int, pool_size: int) -> int:
    """Return how many connections a process takes on its public port: as many as wanted, if it has the descriptors.

    Raises the process's own soft limit of descriptors as far as it may. Raises ValueError if too few are left.
    """
    needed = wanted + PRIVATE_CONNECTIONS + pool_size + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, max(soft, needed))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = min(wanted, soft - needed + wanted)
    if most < FEWEST_CONNECTIONS:
        fewest = needed - wanted + FEWEST_CONNECTIONS
        raise ValueError(f"expected at least {fewest} descriptors (ulimit -n); found {soft}")
    return most
