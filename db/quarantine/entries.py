"""The quarantine: each source value that could not be loaded as it is, with its original bytes.

A value belongs to a column or element of a player whose row was loaded, or it is the reason why a whole row was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from db import ops
from db.errors import Refusal
from game.legacy import sqlite_values
from game.legacy.codec.readers import storable

WHOLE_ROW_RULES = ("duplicate", "unknown", "unfit")
"""End the rules of `batches.BatchBuilder`, which keep a whole row; its key is then `row N`, N the row's position."""

NO_ID = "users.id"
"""The rule of a row of `users` whose id is no key; such a value has no key at all."""

_OWNER = {"users": "id", "user_credentials": "userId"}
"""The column that names the player, by source table; a journal's is `user_id`."""

_VALUES = """
select q.run, q.n, q.kind, q.rule, q.reason, q.source_table, q.key, q.column_name, q.path, q.position, q.storage,
    length(q.original), substring(q.original for case when q.rule = %(no_id)s then %(whole)s else %(most)s end),
    q.loaded_by, q.loaded_at, q.replacement,
    l.position, l.cells
from quarantine q left join legacy_rows l
    on l.source = q.source_table and l.key is null and 'row ' || l.position = q.key
        and substring(q.rule from '[^.]*$') = any(%(rules)s)
where (%(n)s::bigint is null or q.n = %(n)s) and (%(rule)s::text is null or q.rule = %(rule)s)
    and (%(key)s::text is null or q.key = %(key)s)
order by q.kind desc, q.rule, q.n
"""
_KEPT_WITHOUT_KEY = "select position, cells from legacy_rows where source = 'users' and key is null order by position"

WHOLE = 2**31 - 1
"""As many bytes of an original as there are."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the quarantine. n: its number, which no other has. player: None where the row names none.

    original: at most as many of its `size` bytes as were asked for. row: the position of the whole row that was kept,
    while it is kept. loaded_by: the replay that loaded it since; replacement: what was loaded instead of it.
    """

    run: str
    n: int
    kind: str
    rule: str
    reason: str
    table: str
    player: str | None
    key: str | None
    column: str
    path: str
    position: int | None
    storage: str
    size: int
    original: bytes
    loaded_by: str | None = None
    loaded_at: int | None = None
    replacement: bytes | None = None
    row: int | None = None

    @property
    def is_whole_row(self) -> bool:
        """Return True if a whole row was kept for it."""
        return self.rule == NO_ID or self.rule.rpartition(".")[2] in WHOLE_ROW_RULES

    @property
    def is_cell(self) -> bool:
        """Return True if it is the whole cell of its column, not an element of a document."""
        return self.path == "$" and self.position is None

    @property
    def is_loaded_as_it_is(self) -> bool:
        """Return True if the value was loaded, and only contradicts another one."""
        return self.rule.endswith(".disagrees")


def values(
    conn: ops.Connection,
    *,
    n: int | None = None,
    rule: str | None = None,
    key: str | None = None,
    player: str | None = None,
    most_bytes: int = WHOLE,
) -> Iterator[Value]:
    """Read the values, held ones first, by rule and number. most_bytes: of each original."""
    without_key = _KeptWithoutKey(conn)
    rules = {"rules": list(WHOLE_ROW_RULES), "no_id": NO_ID, "whole": WHOLE}
    wanted = {"n": n, "rule": rule, "key": key, "most": most_bytes, **rules}
    for *plain, row, kept in conn.execute(_VALUES, wanted):
        *known, loaded_by, loaded_at, replacement = plain
        named, original = str(known[3]) == NO_ID and known[6] is None and loaded_by is None, known[12]
        position, text = without_key.find(original) if named else (row, kept)
        value = _value(known, text, original[:most_bytes], position)
        value = replace(value, loaded_by=loaded_by, loaded_at=loaded_at, replacement=replacement)
        if player is None or value.player == player:
            yield value


def _value(known: Sequence[Any], kept: str | None, original: bytes, row: int | None) -> Value:
    """Make a value of the first twelve columns of _VALUES, which a row's cells may name a player for."""
    run, n, kind, rule, reason, table, key, column, path, position, storage, size = known[:12]
    player = _owner(table, kept) if kept is not None else key if table == "users" else None
    return Value(
        run, n, kind, rule, reason, table, player, key, column, path, position, storage, size, original, row=row
    )


class _KeptWithoutKey:
    """The rows of `users` that were kept whole for their ids, found by the bytes of these: no key names them."""

    def __init__(self, conn: ops.Connection) -> None:
        self._conn = conn
        self._rows: list[tuple[int, str]] | None = None

    def find(self, original: bytes) -> tuple[int | None, str | None]:
        if self._rows is None:
            self._rows = self._conn.execute(_KEPT_WITHOUT_KEY).fetchall()
        for position, kept in self._rows:
            if sqlite_values.original(sqlite_values.decode(kept)["id"])[: len(original)] == original:
                self._rows.remove((position, kept))  # Two rows may have the same bytes.
                return position, kept
        return None, None


def _owner(table: str, kept: str) -> str | None:
    owner = sqlite_values.decode(kept).get(_OWNER.get(table, "user_id"))
    return owner if isinstance(owner, str) and storable(owner) else None


def held_players(values: Iterable[Value]) -> list[str]:
    """Name the players, or rows of no player, that are still held, each once."""
    held = [value for value in values if value.kind == "held" and value.loaded_by is None]
    return list(dict.fromkeys(value.player or value.key or f"number {value.n}" for value in held))


def require_current(conn: ops.Connection, environment: str) -> None:
    """Check that the quarantine can note what was loaded. Raises Refusal before the revision 0002."""
    columns = conn.execute(
        "select from pg_attribute where attrelid = to_regclass('quarantine') and attname = 'loaded_by'"
    ).rowcount
    if not columns:
        raise Refusal(
            "a quarantine with the column loaded_by",
            "one by an older version",
            where=ops.place(conn),
            do=f"Run: invoke migrate --env {environment}",
        )
