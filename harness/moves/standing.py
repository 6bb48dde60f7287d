"""What `invoke status` does: each part of an environment is asked where it stands."""

from __future__ import annotations

from db import drift, migrate, ops, revisions
from db.cutover import recovery, services
from db.environments import Environment
from db.errors import Refusal


def status(env: Environment) -> dict[str, object]:
    """Where the environment stands, by what each part answers; a part that does not answer says so."""
    return {"environment": env.name, **_databases(env), **_services(env)}


def _databases(env: Environment) -> dict[str, object]:
    found: dict[str, object] = {"legacy": env.legacy.redacted, "target": env.target_direct.redacted}
    standing = recovery.standing(env)
    with ops.connect(env.target_direct) as conn:
        marker, head = ops.marker(conn), migrate.current(conn)
        held = ops.holder(conn) or "nobody"
        schema = _schema(conn, env.target_direct.schema, head)
    odd = f", but not on {', '.join(standing.odd)}" if standing.odd else ""
    fences = {"fence of the legacy file": standing.legacy, "fence of Postgres": f"{standing.target}{odd}"}
    return {
        **found,
        "marker": marker,
        **schema,
        "phase": str(standing.phase),
        "lock held by": held,
        **fences,
    }


def _schema(conn: ops.Connection, schema: str, at: str | None) -> dict[str, object]:
    """The revision, and each line by which the schema differs from what the revisions up to it make.

    Lines about a file, a server or a role with which that can't be known stand in place of the drift.
    """
    try:
        history = revisions.read()
    except Refusal as error:
        return {"schema": at or "none", "drift": [f"not known: {error}"]}
    pending = [revision.id for revision in history.pending(at)]
    found = at or "none"
    if at is not None and at not in history:
        return {"schema": f"{found}, which this version does not know", "drift": ["not known: a newer version made it"]}
    behind = f"{found}, to be applied: {', '.join(pending)}" if pending else found
    try:
        lines = [] if at is None else drift.since(conn, schema, history.applied(at))
        unmade = drift.unmade(conn, history.revisions)
    except Refusal as error:
        return {"schema": behind, "drift": [f"not known: {error}"]}
    return {"schema": behind, "drift": [*lines, *(f"only in game/tables.py: {name}" for name in unmade)]}


def rows(found: dict[str, object]) -> list[tuple[str, object]]:
    """The same for people: several lines as several lines."""
    return [(what, "\n".join(one) or "none" if isinstance(one, list) else one) for what, one in found.items()]


def _services(env: Environment) -> dict[str, object]:
    return {url: _answer(services.ask(url)) for url in env.services}


def _answer(ready: services.Ready | None) -> str:
    return "no answer" if ready is None else f"{ready.engine}, {ready.fence}, process {ready.pid}"
