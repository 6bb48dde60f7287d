"""Makes a revision file from what the tables have and the revisions lack.

The server makes both in a scratch schema and compares them (see db.schema.drift), so checks, defaults and types count
too; Alembic's autogenerate sees no checks. Each statement may run while players play. A change that may not is listed,
and the author writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from db import ops, tables
from db.counts import few
from db.errors import Refusal
from db.schema import drift, migrate, revisions
from db.schema.revisions import History
from game import tables as game_tables
from game.urls import PostgresUrl

FILE = '''"""{title}."""

from __future__ import annotations

from alembic import op

revision = "{number}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The statements, written out: the digest of an applied revision is made of their text."""
{statements}


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
'''
BIND = re.compile(r"(?<![:\w\\]):(?=\w+(?!:))")
"""Matches a colon that SQLAlchemy would read as a parameter."""

MOST_CHARACTERS = 72
LINE = 120
PIECE = 96
"""Characters of each piece of a statement that does not fit on one line."""

PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
COLUMN = re.compile(r"(?P<type>.*?)(?P<required> not null)?(?: default (?P<default>.*?))?(?P<generated> generated)?")
CONSTRAINT = re.compile(r"constraint (\S+) on (\S+): (.*)")
INDEX = re.compile(r"index (CREATE (?:UNIQUE )?INDEX) (\S+) (.*)")
NOT_VALID = " NOT VALID"


@dataclass(frozen=True)
class NewRevision:
    """The file that was made, or None if there is nothing to do.

    later: statements for revisions of their own, after this one is applied. by_hand: changes that the author writes.
    """

    path: Path | None = None
    statements: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()


@dataclass
class RevisionPlan:
    """The statements that a comparison gives. within: for one transaction. alone: each outside any. See Made."""

    within: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)


def make(direct: PostgresUrl, *, environment: str, message: str, folder: Path = revisions.VERSIONS) -> NewRevision:
    """Write the next revision into the folder. Only reads the database.

    Raises Refusal if the message gives no name, the name is taken, the database is not at the head or was changed by
    hand, only the revisions have something, or no change can be written.
    """
    title, slug = _named(message)
    history = revisions.read(*([folder] if folder != revisions.VERSIONS else []))
    _require_free(slug, history)
    with ops.connect(direct, application="sudamr revision") as conn:
        ops.require_marker(conn, environment)
        migrate.require_as_migrated(conn, direct, history)
        have, wanted = drift.by_revisions(conn, history.revisions), drift.by_tables(conn)
    _require_nothing_gone(have, wanted)
    plan = _plan(have, wanted)
    if not (plan.within or plan.alone):
        if plan.by_hand:
            raise Refusal(
                "a change that can be written for you",
                "; ".join(plan.by_hand),
                do="Write the revision by hand: docs/migrations.md.",
            )
        return NewRevision()
    statements, left = (plan.within, plan.alone) if plan.within else (plan.alone[:1], plan.alone[1:])
    path = folder / f"{int(history.head) + 1:04}_{slug}.py"
    _write(path, text(path.name[:4], title, history.head, statements, alone=not plan.within))
    return NewRevision(path, tuple(statements), (*left, *plan.later), tuple(plan.by_hand))


def _named(message: str) -> tuple[str, str]:
    """Return the message as the file's title, and as the slug of its name."""
    title = " ".join(message.split()).rstrip(".")
    slug = "_".join(re.findall(r"[a-z0-9]+", title.lower()))
    if not slug or len(title) > MOST_CHARACTERS or not title.isprintable() or set(title) & set('"\\'):
        raise Refusal(
            f"--message with what the revision does, in {MOST_CHARACTERS} characters at most, with a word in a-z",
            repr(message) if message.strip() else "none",
            do='For example: --message "add luck to players". The message becomes the name of the file.',
        )
    return title[0].upper() + title[1:], slug


def _require_free(slug: str, history: History) -> None:
    for revision in history.revisions:
        if revision.path.stem[5:] == slug:
            raise Refusal(
                "a name that no revision has",
                f"{revision.path.name}",
                where=str(revision.path.parent),
                do="Choose another message.",
            )


def _require_nothing_gone(have: set[str], wanted: set[str]) -> None:
    """Check that the tables still name all that the revisions make; Refusal otherwise.

    A DROP would be a guess: the author may have renamed it, and its rows would be lost.
    """
    names = {drift.name_of(line) for line in wanted}
    lines = {line for line in have if drift.name_of(line) not in names}
    dropped = {line.removeprefix("table ") for line in lines if line.startswith("table ")}
    parts = {drift.name_of(line) for line in lines if not _is_of(line, dropped, set())}
    if gone := sorted({f"table {table}" for table in dropped} | parts):
        raise Refusal(
            "nothing that the revisions make and game/tables.py does not name",
            few(gone, 5),
            do="Name it in game/tables.py again; or write the revision that drops it by hand: docs/migrations.md.",
        )


def _plan(have: set[str], wanted: set[str]) -> RevisionPlan:
    had = {drift.name_of(line): line for line in have}
    new = {drift.name_of(line): line for line in sorted(wanted - have)}
    types = {name.removeprefix("type ") for name in new if name.startswith("type ")}
    fresh = {name.removeprefix("table ") for name in new if name.startswith("table ")}
    plan = RevisionPlan()
    plan.within += [one.strip() for one in drift.definitions() if re.match(_any(r"\s*CREATE TYPE", types), one)]
    plan.within += [statement for table in _in_order(fresh) for statement in _table(table)]
    for name, line in new.items():
        if not _is_of(line, fresh, types):
            _add(plan, line, had.get(name), set(had), new)
    return plan


def _any(begin: str, names: set[str]) -> str:
    """Return a pattern for statements that begin with `begin` and one of the names."""
    return rf"{begin} (?:{'|'.join(map(re.escape, sorted(names))) or '(?!)'})\b"


def _is_of(line: str, fresh: set[str], types: set[str]) -> bool:
    """Return True if the line is about a new table or type, or about a part of one."""
    parts = (r"table", r"column", r"constraint \S+ on", r"(?:invalid )?index .* ON", r"trigger .* ON")
    return any(re.match(_any(part, fresh), line) for part in parts) or any(
        re.match(_any(part, types), line) for part in (r"type", r"label .* of type")
    )


def _in_order(fresh: set[str]) -> list[sa.Table]:
    """Return the new tables, each after those that it refers to."""
    every = [table for metadata in (game_tables.metadata, tables.metadata) for table in metadata.sorted_tables]
    return [table for table in every if table.name in fresh]


def _table(table: sa.Table) -> Iterator[str]:
    """Yield the statements of a table, its indexes and its triggers. Raises Refusal if no list of tables names it."""
    defended = [statement for statement in tables.ddl() if re.search(rf"\b(?:on|table) {table.name}\b", statement)]
    if not defended:
        raise Refusal(
            f"{table.name} in PLAYER_STATE, OTHER_STATE or JOURNALS",
            "none of them names it",
            where="game/tables.py",
            do="Add it to one: the lists give the service its rights and the table its fence.",
        )
    own_statement = rf"(?:CREATE TABLE {table.name} |CREATE (?:UNIQUE )?INDEX \S+ ON {table.name} )"
    for statement in map(str.strip, drift.definitions()):
        if re.match(own_statement, statement):
            yield "\n".join(line.rstrip().replace("\t", "    ") for line in statement.splitlines())
    yield from defended


def _add(plan: RevisionPlan, line: str, before: str | None, had: set[str], new: Mapping[str, str]) -> None:
    """Add the statements for one line of the schema that is new or has changed."""
    if column := re.fullmatch(r"column ([^.]+)\.(\S+) (.*)", line):
        statements = _column(column[1], column[2], column[3], before)
    elif (index := INDEX.fullmatch(line)) and before is None:
        plan.alone.append(f"{index[1]} CONCURRENTLY {index[2]} {index[3]}")
        return
    elif constraint := CONSTRAINT.fullmatch(line):
        name, table, definition = constraint.groups()
        if definition.startswith("UNIQUE (") and f"index {name}" in new:
            plan.later.append(f"alter table {table} add constraint {name} unique using index {name}")
            return
        statements = _constraint(name, table, definition, before, had)
        plan.later += [_validate(table, name) for one in statements if one.endswith(NOT_VALID)]
    else:
        statements = []
    plan.within += statements
    if not statements:
        plan.by_hand.append(line)


def _column(table: str, name: str, wanted: str, before: str | None) -> list[str]:
    now = COLUMN.fullmatch(wanted)
    assert now is not None
    if not PLAIN.fullmatch(name) or now["generated"]:
        return []
    if before is None:
        if now["required"] and not now["default"]:
            return []  # Existing rows would have no value.
        return [f"alter table {table} add column {name} {wanted}"]
    was = COLUMN.fullmatch(before.removeprefix(f"column {table}.{name} "))
    assert was is not None
    if now["type"] != was["type"] or (now["required"] and not was["required"]):
        return []  # The server reads or rewrites every row while players wait.
    if now["default"] and now["default"] != was["default"] and now["required"] == was["required"]:
        return [f"alter table {table} alter column {name} set default {now['default']}"]
    return []  # A running service may still rely on what would be dropped.


def _constraint(name: str, table: str, wanted: str, before: str | None, had: set[str]) -> list[str]:
    """Return the statements of a constraint; none if the author must write it.

    CHECK and FOREIGN KEY take two revisions, so that no scan of the table blocks players. UNIQUE takes over its index.
    """
    if wanted.startswith("UNIQUE (") and before is None and f"index {name}" in had:
        return [f"alter table {table} add constraint {name} unique using index {name}"]
    if not wanted.startswith(("CHECK", "FOREIGN KEY")):
        return []
    if before == f"constraint {name} on {table}: {wanted}{NOT_VALID}":
        return [_validate(table, name)]
    return [] if before else [f"alter table {table} add constraint {name} {wanted}{NOT_VALID}"]


def _validate(table: str, name: str) -> str:
    return f"alter table {table} validate constraint {name}"


def text(number: str, title: str, before: str, statements: Sequence[str], *, alone: bool) -> str:
    """Return a revision's file. alone: its statements run outside a transaction."""
    lines = [_call(statement, indent="        " if alone else "    ") for statement in statements]
    if alone:
        lines = ["    with op.get_context().autocommit_block():", *lines]
    return FILE.format(title=title, number=number, before=before, statements="\n".join(lines))


def _write(path: Path, content: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise Refusal("no file of this name", "one", where=str(path), do="It has just been made. Run again.") from None


def _call(statement: str, *, indent: str) -> str:
    """Return one op.execute() as ruff formats it: on one line, as pieces that Python joins, or as a block."""
    statement = BIND.sub(r"\\:", statement)
    if "\n" in statement:
        body = "\n".join(f"{indent}    {line}" for line in statement.splitlines())
        return f'{indent}op.execute(\n{indent}    """\n{body}\n{indent}    """\n{indent})'
    literal = _literal(statement)
    if len(line := f"{indent}op.execute({literal})") <= LINE:
        return line
    pieces = re.findall(rf".{{1,{PIECE}}}(?: |$)|\S+(?: |$)", statement)
    inner = [f"{indent}    {literal}"]
    if len(inner[0]) > LINE:
        inner = [f"{indent}    {_literal(piece)}" for piece in pieces]
    return "\n".join([f"{indent}op.execute(", *inner, f"{indent})"])


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\")
    return f"'{escaped}'" if '"' in text and "'" not in text else '"' + escaped.replace('"', '\\"') + '"'
