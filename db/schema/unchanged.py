"""Checks that a schema is as the applied revisions made it: known, not edited since, not changed by hand."""

from __future__ import annotations

import re

from db import ops, tables
from db.counts import few
from db.errors import Refusal
from db.schema import drift as catalog
from db.schema import relocation
from db.schema.revisions import History, Revision
from game.urls import PostgresUrl

SHOWN_LINES = 4
"""How many lines of a drift a message shows; `invoke status` shows all."""

INDEX = re.compile(r"create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?(\w+)", re.IGNORECASE)
"""Matches a statement that leaves an invalid index of this name if it fails."""


def require_known(conn: ops.Connection, schema: str, at: str, history: History) -> None:
    """Check that this version knows the schema's revision. Raises Refusal otherwise."""
    if at not in history:
        known = ", ".join(revision.id for revision in history.revisions)
        raise Refusal(
            f"a revision out of {known}",
            f"the revision {at}",
            where=f"{ops.place(conn)} {schema}",
            do="A newer version of this program migrated it: run the command from a checkout of that version.",
        )


def require_unchanged(conn: ops.Connection, schema: str, applied: tuple[Revision, ...]) -> None:
    """Check that no revision was edited after it was applied. Raises Refusal otherwise."""
    rows = conn.execute("select revision, sha256 from ops.revisions where schema = %s", (schema,)).fetchall()
    hashes = {str(revision): str(digest) for revision, digest in rows}
    for revision in applied:
        if hashes.get(revision.id) != revision.digest:
            raise Refusal(
                f"revision {revision.id} as it was applied",
                f"other statements in {revision.path.name}"
                if revision.id in hashes
                else "no record of it in ops.revisions",
                where=f"{ops.place(conn)} {schema}",
                do="Put the file back as it was; what is to change belongs in a new revision.",
            )


def require_no_drift(
    conn: ops.Connection, direct: PostgresUrl, applied: tuple[Revision, ...], pending: tuple[Revision, ...]
) -> None:
    """Check that nobody changed the schema by hand. Raises Refusal otherwise.

    Accepts the next revision's index: a killed run may leave it.
    """
    left = index_of(pending[0]) if pending else None
    lines = [line for line in catalog.since(conn, direct.schema, applied) if not _is_of(line, left)]
    if lines:
        raise Refusal(
            f"the schema as revision {applied[-1].id} left it",
            few(lines, SHOWN_LINES, between="; "),
            where=direct.redacted,
            do="Nothing was changed. Take the manual changes back (every line of them:"
            f" invoke status --env {ops.named(conn)}) and run again.",
        )


def index_of(revision: Revision) -> str | None:
    """Return the name of the index that a revision makes outside a transaction; None otherwise."""
    made = INDEX.search(revision.sql) if revision.outside else None
    return made and made[1]


def _is_of(line: str, index: str | None) -> bool:
    return index is not None and catalog.name_of(line) == f"index {index.lower()}"


def require_empty(conn: ops.Connection, schema: str) -> None:
    """Check that the schema has no tables of others. Raises Refusal otherwise."""
    names = [name for name in relocation.relations(conn, schema) if name != tables.VERSION_TABLE]
    if names:
        raise Refusal(
            f"an empty schema {schema}, or one that this program migrated",
            f"tables that it did not make: {few(names, 3)}",
            where=ops.place(conn),
            do="Name a schema of our own in target and target_direct: ?schema=NAME",
        )
