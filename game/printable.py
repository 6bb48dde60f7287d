"""Makes text of players, files and servers safe to print and to log.

A terminal acts on control characters: text with an escape sequence could paint over a line, or set the window's title.
Bidirectional controls show a line in another order than it has, and invisible characters hide a difference. Each is
written as an escape. Letters of any language, joiners of emoji included, stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from game.redaction import HIDDEN, is_secret_name, redact

UNSAFE = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
"""Characters of Unicode's classes Cc, Cf, Cs, Zl and Zp, without the two joiners of emoji and scripts."""

_UNSAFE = re.compile(f"[{UNSAFE}]")
_UNSAFE_IN_TEXT = re.compile(rf"(?![\n\t])[{UNSAFE}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

FIELD_CHARACTERS = 2_000
"""The longest field in a log. A traceback's interesting lines are its first and its last ones, so the middle is left
out.
"""

FIELD_ITEMS = 100
FIELD_DEPTH = 8


def escaped(text: str) -> str:
    """Return the text for a terminal, of several lines perhaps: all but line ends and tabs is written as an escape."""
    return _UNSAFE_IN_TEXT.sub(_escape, text)


def line(text: str) -> str:
    r"""Return the text for one line: a line end in it is written as \n."""
    return _UNSAFE.sub(_escape, text)


def to_json(value: object, **options: Any) -> str:
    """Return the value as JSON in UTF-8, each unsafe character as JSON's own escape: a reader gets it back."""
    return _UNSAFE_IN_TEXT.sub(_json_escape, json.dumps(value, ensure_ascii=False, **options))


def cut(text: str, most: int = FIELD_CHARACTERS) -> str:
    """Return the text, or its beginning and end with the number of characters between them that are left out."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end]} … {len(text) - most:,} characters are left out … {text[-end:]}"


def field(value: Any, name: str = "", most: int = FIELD_CHARACTERS, depth: int = FIELD_DEPTH) -> Any:
    """Return a field of a log: secrets hidden first, then each text cut, and lists and depth limited.

    name: hides a text whose field's name says that it is a secret.
    """
    match value:
        case bool() | int() | float() | None:
            return value
        case str() if value and is_secret_name(name):
            return HIDDEN
        case str():
            return _in_utf_8(cut(redact(value), most))
        case dict() if depth:
            return {
                _in_utf_8(cut(redact(str(key)), most)): field(one, str(key), most, depth - 1)
                for key, one in _first(list(value.items()))
            } | _left_out(value)
        case list() | tuple() | set() | frozenset() if depth:
            left = [f"{len(value) - FIELD_ITEMS:,} more are left out"] if len(value) > FIELD_ITEMS else []
            return [field(one, name, most, depth - 1) for one in _first(list(value))] + left
        case _:
            return _in_utf_8(cut(redact(str(value)), most))


def _in_utf_8(text: str) -> str:
    """Return the text with lone surrogates as escapes: strict readers of JSON, our own too, refuse the line for one."""
    return text.encode("utf-8", "backslashreplace").decode()


def _first(items: list[Any]) -> list[Any]:
    return items[:FIELD_ITEMS]


def _left_out(value: dict[Any, Any]) -> dict[str, int]:
    return {"left_out": len(value) - FIELD_ITEMS} if len(value) > FIELD_ITEMS else {}


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    if match[0] in _SHORT:
        return _SHORT[match[0]]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def named(columns: Collection[str], *, most: int = 3) -> str:
    """Join the first of these table.column names, and count the rest."""
    shown = ", ".join(list(columns)[:most])
    more = len(columns) - most
    return f"{shown} and {more} more" if more > 0 else shown
