"""`invoke status`: asks each part of an environment for its state, and reports why one does not answer."""

from __future__ import annotations

from dataclasses import dataclass

from db import drift, ops, revisions
from db.cutover import ending, services
from db.cutover.ending import Seen
from db.environments import Environment
from db.errors import Refusal
from db.snapshots import kept


@dataclass(frozen=True, slots=True)
class Status:
    """The answers by name. whole: every part answered."""

    found: dict[str, str | list[str]]
    whole: bool

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The answers for people; each item of a list takes a line."""
        return [(name, one if isinstance(one, str) else "\n".join(one) or "none") for name, one in self.found.items()]


def status(env: Environment) -> Status:
    """Ask the file, Postgres, the pointer and the services. Never raises for a part that does not answer."""
    seen = ending.look(env)
    schema, drifted, known = _schema(env, seen)
    found: dict[str, str | list[str]] = {
        "environment": env.name,
        "legacy": env.legacy.redacted,
        "target": env.target_direct.redacted,
        **_postgres(seen, schema),
        **_kept(env, seen),
        "drift": drifted,
        "fence of the legacy file": seen.legacy_fence,
        "fence of Postgres": seen.target_fence,
        "pointer": seen.amiss or f"names {seen.pointer}",
        **{url: _answer(ready) for url, ready in seen.services.items()},
        "players": seen.serves,
        "next": seen.next,
    }
    return Status(found, known and not seen.unknown)


def _schema(env: Environment, seen: Seen) -> tuple[str, list[str], bool]:
    """Return the revision with the pending ones, the lines of drift, and whether both are known."""
    if seen.target is None:
        return "not known", ["not known"], False
    at = seen.target.schema
    try:
        history = revisions.read()
        pending = ", ".join(revision.id for revision in history.pending(at))
        revision = (at or "none") + (f", to be applied: {pending}" if pending else "")
        if at is not None and at not in history:
            return f"{at}, which this version does not know", ["not known: a newer version migrated it"], False
        with ops.connect(env.target_direct, application="sudamr status") as conn:
            lines = [] if at is None else drift.since(conn, env.target_direct.schema, history.applied(at))
            unmade = drift.unmade(conn, history.revisions)
    except Refusal as error:
        return at or "none", [f"not known: {' '.join(str(error).split())}"], False
    return revision, [*lines, *(f"only in game/tables.py: {name}" for name in unmade)], True


def _kept(env: Environment, seen: Seen) -> dict[str, list[str]]:
    """Name the schemas that are kept; if the game's own is missing, a restore was cut off after it had moved it."""
    if seen.target is None:
        return {}
    try:
        with ops.connect(env.target_direct, application="sudamr status") as conn:
            found = [f"{one.schema}, {one.players:,} players" for one in kept.find(conn)]
    except Refusal as error:
        return {"kept schemas": [f"not known: {' '.join(str(error).split())}"]}
    if found and seen.target.schema is None:
        found.append("the game's own schema is missing: a restore was cut off. Run it again,")
        found.append(f"or: invoke snapshot.kept --env {env.name} --put-back NAME")
    return {"kept schemas": found} if found else {}


def _postgres(seen: Seen, schema: str) -> dict[str, str]:
    target = seen.target
    if target is None:
        why = f"not known: {seen.unknown[ending.TARGET]}"
        return dict.fromkeys(("marker", "schema", "phase", "lock held by"), why)
    return {
        "marker": target.marker or "none",
        "schema": schema,
        "phase": str(target.phase) + (f", by run {target.run}" if target.run else ""),
        "lock held by": str(target.holder or "nobody"),
    }


def _answer(ready: services.Ready | None) -> str:
    return "no answer" if ready is None else f"{ready.engine}, {ready.fence}, process {ready.pid}"
