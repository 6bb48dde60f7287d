"""Reads JSON that others may have written: whole and within bounds, or a Refusal of one line, never a traceback.

A file is opened without waiting, and read only if it is a regular file of at most `most_bytes`. Its JSON is refused
where two readers could differ (a key that stands twice, NaN, a number beyond 64 bits, a lone surrogate), and where it
would cost too much (nesting, very many values). With the bounds below, reading takes at most some 400 MB and 3 s.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from db.errors import Refusal
from db.files import paths
from game import paths as kinds

T = TypeVar("T")

MOST_BYTES = 32 * 1024 * 1024
"""The largest gate report: one whose every item failed at length has some 20 MB."""

MOST_BYTES_OF_A_NOTE = 1024 * 1024
"""The largest file with a few figures."""

MOST_VALUES = 1_000_000
MOST_DEPTH = 64
MOST_CHARACTERS = 200
"""The longest text from a file in a message."""

SHOWN = 80
NOT_JSON = "a file that is not JSON"
_LONE = re.compile("[\ud800-\udfff]")
_LARGEST = 2**63 - 1


class Unfit(ValueError):
    """JSON that is not read; its text says why in a few words, on one line."""


def read_json(path: Path, expected: str, *, do: str, most_bytes: int = MOST_BYTES, follow: bool = True) -> object:
    """Return the value in the file. Raises Refusal with `expected` and `do`. follow: also through a link."""
    data = _bytes(path, expected, do=do, most_bytes=most_bytes, follow=follow)
    try:
        return parse(data)
    except Unfit as error:
        raise Refusal(expected, str(error), where=str(path), do=do) from None


def load_json(
    path: Path, kind: TypeAdapter[T], expected: str, *, do: str, most_bytes: int = MOST_BYTES, follow: bool = True
) -> T:
    """Return the value in the file as this kind. Raises Refusal as `read_json`, also where the kind does not fit."""
    value = read_json(path, expected, do=do, most_bytes=most_bytes, follow=follow)
    try:
        return fitting(value, kind)
    except Unfit as error:
        raise Refusal(expected, str(error), where=str(path), do=do) from None


def fitting(value: object, kind: TypeAdapter[T], what: str = "JSON") -> T:
    """Return the JSON value as this kind. Raises Unfit naming the first key that does not fit; never shows its value.

    what: what the value is called in the message.
    """
    try:
        # As JSON: in Python strictness would ask for instances of our classes already.
        return kind.validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = shown(".".join(map(str, first["loc"]))) or "the whole"
        raise Unfit(f"{what} in which {key} does not fit ({shown(first['msg'])})") from None


def parse(data: bytes) -> object:
    """Return the value that the bytes are. Raises Unfit."""
    if sum(data.count(mark) for mark in (b",", b":", b"[", b"{")) > MOST_VALUES:
        raise Unfit(f"JSON of more than {MOST_VALUES:,} values")
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_each_key_once,
            parse_int=_whole_number,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except Unfit:
        raise
    except RecursionError:
        raise Unfit(_too_deep()) from None
    except ValueError:  # Neither UTF-8 nor JSON: both are ValueErrors.
        raise Unfit(NOT_JSON) from None
    _check(value)
    return value


def shown(text: str, most: int = SHOWN) -> str:
    """Return the text for a message: on one line, no control characters, cut after `most` characters."""
    cut = text[:most]
    line = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)
    return line + ("…" if len(text) > most else "")


def _one_line(text: str) -> str:
    if len(text) > MOST_CHARACTERS or not text.isprintable():
        raise ValueError(f"should be one line of at most {MOST_CHARACTERS} printable characters")
    return text


def _instant(text: str) -> str:
    try:
        has_zone = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        has_zone = False
    if not has_zone:
        raise ValueError("should be a time as 2026-01-31T12:00:00+00:00")
    return text


OneLine = Annotated[str, AfterValidator(_one_line)]
"""A text that can stand in a message as it is."""

Instant = Annotated[str, AfterValidator(_one_line), AfterValidator(_instant)]
"""A time in ISO's form, with its zone."""


def _bytes(path: Path, expected: str, *, do: str, most_bytes: int, follow: bool) -> bytes:
    paths.require_file(path, expected, do=do)
    try:
        # Not to wait: a pipe may take the file's place after it was looked at.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        description = "a link" if path.is_symlink() else kinds.describe(path)
        raise Refusal(
            expected, description if description != kinds.FILE else str(error.strerror), where=str(path), do=do
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refusal(expected, kinds.describe(path), where=str(path), do=do)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise Refusal(expected, f"more than {most_bytes:,} bytes", where=str(path), do=do)
    return data


def _check(value: object) -> None:
    """Check depth and texts, level by level: a recursion could itself be too deep."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [inner for outer in level for inner in _within(outer)]
        if not level:
            return
    raise Unfit(_too_deep())


def _within(value: object) -> Iterator[object]:
    """Yield the values directly in it, keys too. Raises Unfit for half a character in a text."""
    match value:
        case dict():
            yield from value
            yield from value.values()
        case list():
            yield from value
        case str():
            if not value.isascii() and _LONE.search(value):
                raise Unfit("JSON with half a character (a lone surrogate)")


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Unfit(f"JSON in which the key {shown(twice)} stands twice")
    return values


def _whole_number(text: str) -> int:
    if len(text) > len(str(-_LARGEST)) or not -_LARGEST <= (number := int(text)) <= _LARGEST:
        raise Unfit("JSON with a number beyond 64 bits")
    return number


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise Unfit("JSON with a number beyond all bounds")
    return number


def _no_constant(name: str) -> float:
    raise Unfit(f"JSON with {name}, which is no number")


def _too_deep() -> str:
    return f"JSON that is nested more than {MOST_DEPTH} levels deep"
