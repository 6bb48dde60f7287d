"""The figures of the target's players, by SQL alone: the other side of the independent proof.

One statement for a run of players. Postgres adds up, sorts and hashes; what comes back is some 2 KB a player.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from db import ops
from db.transfer.figures import FLAGS, NAMES, NUMBERS, OBJECTS, TEXTS, Figures


def _text(column: str) -> str:
    return f"coalesce(length({column}) || ':' || {column}, '-')"


def _number(column: str) -> str:
    return f"coalesce({column}::text || ',', '-')"


def _flag(column: str) -> str:
    return f"{column}::int || ','"


def _digest(written: str) -> str:
    return f"encode(sha256(convert_to({written}, 'UTF8')), 'hex')"


_C = 'collate "C"'


def _digest_of_rows(parts: tuple[str, ...], order: str) -> str:
    return _digest(f"coalesce(string_agg({' || '.join(parts)}, '' order by {order}), '')")


_ITEM = (*map(_text, ("id", "name", "type", "slot", "grade")), *map(_number, ("stars", "quantity", "fails")))
_LETTER = (
    _text("id"),
    *map(_number, ("gold", "diamonds", "action_points", "expires_at")),
    _flag("claimed"),
)
_QUEST = (
    *map(_text, ("period", "id")),
    *map(_number, ("progress", "target", "activity_points")),
    _flag("claimed"),
)
_PERIOD = (_text("period"), _number("activity"), _number("reset_at"))
_MISSION = (_text("id"), _flag("started"), *map(_number, ("since", "amount", "level", "collected")))
_WORN = r"""
case
    when kept is null then item_id
    when kept = 'null' then null
    when kept ~ '^"([^"\\\x01-\x1f]|\\(["\\/bfnrt]|u[0-9a-fA-F]{4}))*"$' and kept !~* '\\u(0000|d[89a-f])'
        then kept::jsonb #>> '{}'
    else kept
end
"""
"""The entry of a slot: an item's id, or the text of an entry that names no item. Only text that is JSON is cast."""

_ATTACHED = (
    f"coalesce(sum({column}) filter (where not claimed), 0)" for column in ("gold", "diamonds", "action_points")
)

_DOCUMENTS: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "inventory": (("user_inventory", ("count(*)", _digest_of_rows(_ITEM, "position, id"))),),
    "equipment": (("user_equipment", (_digest_of_rows((_text("slot"), _text(f"({_WORN})")), "position, slot"),)),),
    "mail": (
        (
            "user_mail",
            (
                "count(*)",
                "count(*) filter (where not claimed)",
                *_ATTACHED,
                _digest_of_rows(_LETTER, "position, id"),
            ),
        ),
    ),
    "quests": (
        ("user_milestones", (_digest_of_rows(_PERIOD, f"period {_C}"),)),
        ("user_quests", (_digest_of_rows(_QUEST, f"period {_C}, position, id"),)),
    ),
    "singlePlayerMissions": (("user_missions", ("count(*)", _digest_of_rows(_MISSION, "position, id"))),),
}
"""The tables of each document, each with its figures, in the order of their names."""

_PLAIN: Mapping[str, tuple[str, ...]] = {
    **{column: (f"u.{name}",) for column, (name, _absent) in NUMBERS.items()},
    **{column: (_digest(_text(f"u.{name}")),) for column, name in TEXTS.items()},
    **{column: (f"u.{name}::int",) for column, name in FLAGS.items()},
    **{column: tuple(f"u.{name}" for name, _absent in keys.values()) for column, keys in OBJECTS.items()},
}


def _query() -> str:
    """Return the one statement; its columns are the figures in the order of NAMES."""
    selected: list[str] = ["u.id"]
    joined: list[str] = []
    for column, names in NAMES.items():
        figures = list(_PLAIN.get(column, ()))
        for table, of_table in _DOCUMENTS.get(column, ()):
            aliases = [f"f{n}" for n, _figure in enumerate(of_table)]
            inner = ", ".join(f"{figure} as {alias}" for figure, alias in zip(of_table, aliases, strict=True))
            joined.append(f"cross join lateral (select {inner} from {table} t where t.user_id = u.id) as {table}")
            figures += [f"{table}.{alias}" for alias in aliases]
        assert len(figures) == len(names), column
        selected += figures
    return f"select {', '.join(selected)} from users u {' '.join(joined)} where u.id = any(%s)"


_FIGURES = _query()

_HARMLESS = ["inventory.disagrees", "equipment.dangling"]
"""Rules whose findings concern loaded values: their figures can be compared."""

_FINDINGS = """
select distinct key, column_name from quarantine
where source_table = 'users' and key = any(%s) and not rule = any(%s)
"""
_KEPT_WHOLE = "select position from legacy_rows where source = 'users' and key is null and position = any(%s)"
_PLAYERS = "select count(*) from users"
_FINDINGS_OF_ROWS = """
select count(*) from quarantine
where source_table = 'users'
and (key is null or rule in ('id.duplicate', 'username.duplicate', 'nickname.duplicate'))
"""


@dataclass(frozen=True, slots=True)
class TargetRun:
    """The target's side of a run of players.

    figures: by id. quarantined: (id, column) of values that the quarantine has. kept_whole: positions of rows that
    were not taken apart.
    """

    figures: dict[str, Figures]
    quarantined: set[tuple[str, str]] = field(default_factory=set)
    kept_whole: set[int] = field(default_factory=set)


def read(conn: ops.Connection, ids: list[str], positions: list[int]) -> TargetRun:
    """Return what the target has of these players and rows."""
    run = TargetRun({})
    for player, *values in conn.execute(_FIGURES, (ids,)):
        figures = iter(values)
        run.figures[player] = {column: tuple(next(figures) for _name in names) for column, names in NAMES.items()}
    run.quarantined.update(conn.execute(_FINDINGS, (ids, _HARMLESS)))
    run.kept_whole.update(position for (position,) in conn.execute(_KEPT_WHOLE, (positions,)))
    return run


def count_players(conn: ops.Connection) -> int:
    """Return the number of players that the target has."""
    return _count(conn, _PLAYERS)


def count_kept_whole(conn: ops.Connection) -> int:
    """Return the number of rows of `users` that the quarantine has for being kept whole."""
    return _count(conn, _FINDINGS_OF_ROWS)


def _count(conn: ops.Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
