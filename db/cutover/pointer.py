"""The pointer: the one variable of the env file that says which store the service opens.

Written in one rename, so a service that starts in that moment reads the old file or the new one, never half of it.
Comments, order, `export`, line ends, mode and owner stay as they are.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping

from dotenv.parser import Binding, parse_stream

from db import service_file
from db.environments import Pointer
from db.errors import Failure, Refusal
from db.files import private
from game import urls
from game.errors import BadUrl

_ASSIGNMENT = re.compile(
    r"""(?P<before>\s*(?:export[^\S\r\n]+)?[^=\s]+[^\S\r\n]*=[^\S\r\n]*)"""
    r"""(?P<value>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\r\n]*?)"""
    r"""(?P<after>(?:[^\S\r\n]+\#[^\r\n]*)?[^\S\r\n]*(?:\r\n|\n|\r|$))""",
    re.DOTALL | re.VERBOSE,
)
_PLAIN = re.compile(r"[\w:/.@%?&=+~,;-]+")
"""A value that every reader of env files reads alike, in quotes or without."""


def address(place: urls.PostgresUrl | urls.LegacyUrl) -> tuple[object, ...]:
    """Return the part of the URL that identifies the store, without its password and parameters."""
    if isinstance(place, urls.LegacyUrl):
        return (os.path.realpath(place.path),)
    return place.host, place.port, place.dbname, place.schema, place.user


def read(pointer: Pointer) -> str:
    """Return the variable's value. Raises Refusal if the file or the variable is missing, or it is there twice."""
    values = [b.value for b in _bindings(service_file.text(pointer.path)) if b.key == pointer.variable]
    if len(values) != 1 or not values[0]:
        count = "none" if not any(values) else f"{len(values)} of them"
        raise Refusal(
            f"one line {pointer.variable}=<URL of the store>",
            count,
            where=str(pointer.path),
            do=f"Have one line {pointer.variable}= there, with the URL that the service uses today.",
        )
    return values[0]


def url(pointer: Pointer) -> urls.PostgresUrl | urls.LegacyUrl:
    """Return the store that the variable names. Raises Refusal if it names none."""
    try:
        return urls.read(read(pointer))
    except BadUrl as error:
        raise Refusal(
            error.expected,
            error.found,
            where=f"{pointer.variable} in {pointer.path}",
            do="Have that line name the store that the service uses today.",
        ) from None


def write(pointer: Pointer, value: str) -> None:
    """Set the variable to `value`, by one rename, and read it back. Raises Failure if it reads otherwise.

    If the line of the next store names the same store, that line gets the old value: a service refuses two variables
    that name one store.
    """
    values = {pointer.variable: value}
    beside = next_value(pointer)
    if beside is not None and names(beside, urls.read(value)):
        values[next_variable(pointer)] = read(pointer)
    _write(pointer, values)
    if read(pointer) != value:
        raise Failure(f"{pointer.variable} to read as it was written", "another value", where=str(pointer.path))


def next_variable(pointer: Pointer) -> str:
    """Return the name of the variable for the store that the service opens beside the first."""
    return f"{pointer.variable}_NEXT"


def next_value(pointer: Pointer) -> str | None:
    """Return the value of that variable; None if the file has no line for it, or an empty one."""
    values = [b.value for b in _bindings(service_file.text(pointer.path)) if b.key == next_variable(pointer)]
    return values[-1] or None if values else None


def write_next(pointer: Pointer, value: str) -> None:
    """Set the variable of the next store to `value`, by one rename; its line is added if the file has none."""
    _write(pointer, {next_variable(pointer): value})


def _write(pointer: Pointer, values: Mapping[str, str]) -> None:
    text = service_file.text(pointer.path)
    bindings = _bindings(text)
    lines = [_assigned(b, values[b.key]) if b.key and b.key in values else b.original.string for b in bindings]
    for name in values.keys() - {binding.key for binding in bindings}:
        end = "" if not text or text.endswith(("\n", "\r")) else "\n"
        lines.append(f"{end}{name}={_quoted_as('', values[name])}\n")
    private.replace(pointer.path, "".join(lines).encode())


def names(value: str, place: urls.PostgresUrl | urls.LegacyUrl) -> bool:
    """Return True if the value is a URL of this store; its password and parameters may differ."""
    try:
        return address(urls.read(value)) == address(place)
    except BadUrl:
        return False


def _bindings(text: str) -> list[Binding]:
    return list(parse_stream(io.StringIO(text, newline="")))


def _assigned(binding: Binding, value: str) -> str:
    match = _ASSIGNMENT.fullmatch(binding.original.string)
    assert match is not None, "the parser found an assignment here"
    return match["before"] + _quoted_as(match["value"], value) + match["after"]


def _quoted_as(was: str, value: str) -> str:
    """Return the value quoted as the old one was, where it can be read back so; else in single quotes."""
    if _PLAIN.fullmatch(value) and was[:1] not in ("'", '"'):
        return value
    if _PLAIN.fullmatch(value):
        return was[0] + value + was[0]
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
