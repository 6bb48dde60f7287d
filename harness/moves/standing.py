"""What `invoke status` does: it asks each part of an environment where it stands, and says why one does not answer."""

from __future__ import annotations

from dataclasses import dataclass

from db.cutover import ending, services
from db.cutover.ending import Seen
from db.environments import Environment


@dataclass(frozen=True, slots=True)
class Status:
    """The answers by name, for people and machines alike. whole: every part answered."""

    found: dict[str, str]
    whole: bool


def status(env: Environment) -> Status:
    """Ask the file, Postgres, the pointer and the services. Never raises for a part that does not answer."""
    seen = ending.look(env)
    found = {
        "environment": env.name,
        "legacy": env.legacy.redacted,
        "target": env.target_direct.redacted,
        **_postgres(seen),
        "fence of the legacy file": seen.legacy_fence,
        "fence of Postgres": seen.target_fence,
        "pointer": f"names {seen.pointer}",
        **{url: _answer(ready) for url, ready in seen.services.items()},
        "players": seen.serves,
        "next": seen.next,
    }
    return Status(found, not seen.unknown)


def _postgres(seen: Seen) -> dict[str, str]:
    target = seen.target
    if target is None:
        why = f"not known: {seen.unknown[ending.TARGET]}"
        return dict.fromkeys(("marker", "schema", "phase", "lock held by"), why)
    return {
        "marker": target.marker or "none",
        "schema": target.schema or "none",
        "phase": str(target.phase) + (f", by run {target.run}" if target.run else ""),
        "lock held by": target.holder or "nobody",
    }


def _answer(ready: services.Ready | None) -> str:
    return "no answer" if ready is None else f"{ready.engine}, {ready.fence}, process {ready.pid}"
