"""Runs `invoke transfer.quarantine`: the values that could not be loaded, for people and for machines."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from db import environments, ops
from db.errors import Refusal
from db.files import private
from db.quarantine import entries
from db.quarantine.entries import Value
from db.schema import migrate
from db.transfer.rebuild import made, refuse_taken
from game.urls import PostgresUrl

if TYPE_CHECKING:
    from db.console.output import Output

WIDTH = 80
SHOWN_A_RULE = 5
SHOWN_BYTES = 400
"""The longest part of an original on the screen; it is cut to the line's width besides."""

_INVISIBLE = ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")
"""Unicode's categories of control and format characters, bidi ones among them, and of what has no glyph."""


@dataclass(frozen=True, slots=True)
class Original:
    """A value with its original bytes: as text if they are UTF-8, else as hex. loaded_by: the replay that loaded it.

    replacement: what an operator decided in its place, and was loaded.
    """

    number: int
    kind: str
    rule: str
    reason: str
    player: str | None
    table: str
    column: str
    path: str
    storage: str
    bytes: int
    original: str | None
    original_hex: str | None
    loaded_by: str | None
    replacement: str | None

    @classmethod
    def of(cls, value: Value) -> Original:
        """Return the value with as many of its bytes as were read."""
        text = _decoded(value.original, cut=len(value.original) < value.size)
        return cls(
            value.n,
            value.kind,
            value.rule,
            value.reason,
            value.player,
            value.table,
            value.column,
            value.path,
            value.storage,
            value.size,
            text,
            None if text is not None else value.original.hex(),
            value.loaded_by,
            None if value.replacement is None else value.replacement.decode(),
        )


@dataclass(frozen=True, slots=True)
class QuarantineList:
    """The values of a quarantine, and how the list was narrowed. held: players that are held, each once."""

    environment: str
    player: str
    rule: str
    held: tuple[str, ...]
    values: tuple[Original, ...]


def find(environment: str, player: str = "", rule: str = "", *, whole: bool = False) -> QuarantineList:
    """Read the values that the last load kept, of one player or rule if named. whole: with all of their bytes."""
    target = _target(environment)
    with ops.connect(target) as conn:
        _require(conn, environment)
        return listed(conn, environment, player, rule, whole=whole)


def listed(
    conn: ops.Connection, environment: str, player: str = "", rule: str = "", *, whole: bool = False
) -> QuarantineList:
    """Read as `find` does, on a connection to a target that was checked."""
    most = entries.WHOLE if whole else SHOWN_BYTES
    entered = list(entries.values(conn, player=player or None, rule=rule or None, most_bytes=most))
    return QuarantineList(
        environment, player, rule, tuple(entries.held_players(entered)), tuple(map(Original.of, entered))
    )


def export(environment: str, number: int | None, into: str, out: Output) -> None:
    """Write the original bytes of one value to a new file, readable by its owner alone.

    Raises Refusal for a number that no value has, and for a path that is taken.
    """
    if number is None or not into:
        raise Refusal(
            "--number N with --into FILE",
            "one of them alone",
            do="N is a number that `invoke transfer.quarantine --env NAME` shows.",
        )
    target, path = _target(environment), Path(into)
    refuse_taken(path)
    with ops.connect(target) as conn:
        _require(conn, environment)
        entered = list(entries.values(conn, n=number))
    if not entered:
        raise Refusal(
            "the number of a value that is kept",
            str(number),
            where=target.redacted,
            do=f"invoke transfer.quarantine --env {environment} lists them.",
        )
    with made(path) as part:
        private.write(part, entered[0].original)
    out.say(f"written: {into}, the {entered[0].size:,} bytes of number {number}")
    out.json(Original.of(entered[0]))


def _target(environment: str) -> PostgresUrl:
    environments.check_name(environment)
    if environment == environments.THROWAWAY:
        raise Refusal(
            "an environment whose database stays",
            "test, whose server ends with its command",
            do="invoke transfer --env test --source FILE --json NEW writes the same list to NEW, as `quarantine`.",
        )
    return environments.load(environment).target_direct


def _require(conn: ops.Connection, environment: str) -> None:
    ops.require_marker(conn, environment)
    migrate.require_current(conn)
    entries.require_current(conn, environment)


def show(values: QuarantineList, out: Output) -> None:
    """Print a page for people, 80 columns wide: by rule, held values first."""
    narrowed = bool(values.player or values.rule)
    out.say(_headline(values))
    for (kind, rule), group in groupby(values.values, key=lambda one: (one.kind, one.rule)):
        _show_rule(kind, rule, list(group), out, None if narrowed else SHOWN_A_RULE)
    if any(one.loaded_by is None for one in values.values):
        out.say("")
        out.say(f"All bytes of one value: invoke transfer.quarantine --env {values.environment} --number N --into FILE")


def _headline(values: QuarantineList) -> str:
    still = [one for one in values.values if one.loaded_by is None]
    of = f" of {shown(values.player)}" if values.player else ""
    by = f" by the rule {shown(values.rule)}" if values.rule else ""
    if not still:
        loaded = f"; {len(values.values):,} were loaded since" if values.values else ""
        return f"{values.environment}: no value{of}{by} is kept in the quarantine{loaded}"
    since = f", {len(values.values) - len(still):,} loaded since" if len(values.values) > len(still) else ""
    return f"{values.environment}: players held: {len(values.held):,}; values{of}{by} kept: {len(still):,}{since}"


def _show_rule(kind: str, rule: str, values: Sequence[Original], out: Output, most: int | None) -> None:
    players = len({one.player or one.number for one in values})
    out.say("")
    out.say(fitted(f"{kind} · {shown(rule)} · values {len(values):,}, players {players:,}", WIDTH))
    out.say(fitted(f"  {shown(values[0].reason)}", WIDTH))
    for one in values[:most]:
        loaded = ", loaded since" if one.loaded_by else ""
        out.say(fitted(f"  {one.number}  {shown(one.player or '(no player)')}{loaded}", WIDTH))
        place = shown(f"{one.table}.{one.column}" + (f" {one.path}" if one.path != "$" else ""))
        of = f", {one.storage} of {one.bytes:,} bytes"
        out.say(fitted(f"     {place}", WIDTH - len(of)) + of)
        out.say(f"     {_value(one)}")
    if most is not None and len(values) > most:
        out.say(f"  … and {len(values) - most:,} more: --rule {shown(rule)}")


def _value(one: Original) -> str:
    """Return the value in one line, cut to the width; the line above it says its length."""
    if one.original is None:
        return fitted(f"hex {one.original_hex}", WIDTH - 5)
    return fitted(shown(one.original) or "(empty)", WIDTH - 5)


def shown(text: str) -> str:
    """Return the text with control, bidi and invisible characters as escapes, which can't change the terminal."""
    return "".join(_escaped(one) if unicodedata.category(one) in _INVISIBLE else one for one in text)


def _escaped(one: str) -> str:
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"


def fitted(text: str, width: int) -> str:
    """Return the text, cut to a number of columns; a Korean character takes two."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def by_rule(values: Iterable[Original]) -> list[tuple[str, str, int]]:
    """Count the values by kind and rule."""
    return [(kind, rule, len(list(group))) for (kind, rule), group in groupby(values, key=lambda v: (v.kind, v.rule))]


def _decoded(data: bytes, *, cut: bool) -> str | None:
    """Return the bytes as text; None if they are not UTF-8. cut: the last character may be incomplete."""
    for short in range(4 if cut else 1):
        try:
            return data[: len(data) - short].decode()
        except UnicodeDecodeError:
            continue
    return None
