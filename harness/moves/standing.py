"""What `invoke status` does: each part of an environment is asked where it stands."""

from __future__ import annotations

from db import migrate, ops
from db.cutover import recovery, services
from db.environments import Environment


def status(env: Environment) -> dict[str, object]:
    """Where the environment stands, by what each part answers; a part that does not answer says so."""
    return {"environment": env.name, **_databases(env), **_services(env)}


def _databases(env: Environment) -> dict[str, object]:
    found: dict[str, object] = {"legacy": env.legacy.redacted, "target": env.target_direct.redacted}
    standing = recovery.standing(env)
    with ops.connect(env.target_direct) as conn:
        marker, head = ops.marker(conn), migrate.current(conn)
        held = ops.holder(conn) or "nobody"
    odd = f", but not on {', '.join(standing.odd)}" if standing.odd else ""
    fences = {"fence of the legacy file": standing.legacy, "fence of Postgres": f"{standing.target}{odd}"}
    return {
        **found,
        "marker": marker,
        "schema": head or "none",
        "phase": str(standing.phase),
        "lock held by": held,
        **fences,
    }


def _services(env: Environment) -> dict[str, object]:
    return {url: _answer(services.ask(url)) for url in env.services}


def _answer(ready: services.Ready | None) -> str:
    return "no answer" if ready is None else f"{ready.engine}, {ready.fence}, process {ready.pid}"
