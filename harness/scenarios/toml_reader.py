"""TOML as a document: its data in the types of YAML, and the place of each key and element.

tomllib reads the data and refuses what is no TOML; it tells no places, so the text is scanned once more for them.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, time

from harness.scenarios.yaml_errors import Mark
from harness.scenarios.yaml_reader import LEAST, MOST, Data, Path, YamlDocument, shortened

TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r]+|\#[^\n]*)
    |(?P<text>\"{3}(?:[^"\\]|\\.|\"{1,2}(?!\"))*\"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')
    |(?P<sign>[\[\]{},=\n])
    |(?P<bare>[^\s\[\]{},=\#"']+)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")


class BadToml(Exception):
    """The text is no TOML, or holds a number that no column does."""

    def __init__(self, mark: Mark, expected: str, found: str, cure: str = "") -> None:
        super().__init__(f"{mark.line}:{mark.column}: expected {expected}; found {found}.{cure and f' {cure}'}")


def read(text: str) -> YamlDocument:
    """Return the document that the text holds. Raises BadToml."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _broken(text, str(error)) from None
    except ValueError:  # Python's int() reads no thousands of digits.
        raise BadToml(Mark(1, 1), f"whole numbers from {LEAST} to {MOST}", "one of thousands of digits") from None
    except RecursionError:
        raise BadToml(Mark(1, 1), "TOML", "hundreds of brackets in each other") from None
    scan = _Scan(text)
    scan.run()
    document = YamlDocument(None, scan.values, scan.keys)
    return YamlDocument(_plain(data, (), document.mark), scan.values, scan.keys)


def _broken(text: str, message: str) -> BadToml:
    place = _PLACE.search(message)
    last = Mark(text.count("\n") + 1, 1)
    mark = Mark(int(place[1]), int(place[2])) if place and place[1] else last
    problem = _PLACE.sub("", message)
    return BadToml(mark, "TOML", problem[:1].lower() + problem[1:], "https://toml.io shows its forms.")


def _plain(value: object, path: Path, mark: Callable[[Path], Mark]) -> Data:
    """Return the value in the types of YAML: moments as ISO text."""
    match value:
        case dict():
            return {key: _plain(inner, (*path, key), mark) for key, inner in value.items()}
        case list():
            return [_plain(inner, (*path, n), mark) for n, inner in enumerate(value)]
        case date() | time():  # A datetime is a date too.
            return value.isoformat()
        case float() if not math.isfinite(value):
            raise BadToml(mark(path), "a number", str(value))
        case int() if not LEAST <= value <= MOST:
            raise BadToml(mark(path), f"a whole number from {LEAST} to {MOST}", shortened(str(value)))
        case bool() | int() | float() | str():
            return value
        case _:
            raise AssertionError(f"tomllib gives no {type(value).__name__}")


@dataclass
class _Scan:
    """Notes the places of keys and values in a text that tomllib has read."""

    text: str
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tokens = (token for token in TOKEN.finditer(self.text) if token.lastgroup != "blank")
        self._tokens = [(str(token.lastgroup), token[0], token.start()) for token in tokens]
        self._at = 0
        self._elements: dict[Path, int] = {}

    def run(self) -> None:
        """Scan the whole text for the places of its keys."""
        table: Path = ()
        while self._at < len(self._tokens):
            if self._skip("\n"):
                continue
            if self._next == "[":
                table = self._header()
            else:
                self._entry(table)

    @property
    def _next(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _skip(self, *signs: str) -> bool:
        if self._next not in signs:
            return False
        self._at += 1
        return True

    def _mark(self) -> Mark:
        offset = self._tokens[min(self._at, len(self._tokens) - 1)][2]
        return Mark(self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset))

    def _header(self) -> Path:
        """Read `[table]` or `[[table]]`; return its path, with the number of the last element of each list in it."""
        mark = self._mark()
        self._skip("[")
        is_element = self._skip("[")
        path: Path = ()
        for part in self._key("]"):
            path = (*path, part)
            self.keys.setdefault(path, mark)
            if path in self._elements:
                path = (*path, self._elements[path])
        if is_element:
            # The loop above has put the number of the element before this one behind the list's own path.
            whole = path[:-1] if path and isinstance(path[-1], int) else path
            self._elements[whole] = self._elements.get(whole, -1) + 1
            path = (*whole, self._elements[whole])
        self.values[path] = mark
        while self._skip("]"):
            pass
        return path

    def _entry(self, table: Path) -> None:
        mark = self._mark()
        path = table
        for part in self._key("="):
            path = (*path, part)
            self.keys.setdefault(path, mark)
        self._skip("=")
        self._value(path)

    def _key(self, end: str) -> list[str]:
        parts: list[str] = []
        while self._next not in (end, ""):
            kind, text, _ = self._tokens[self._at]
            parts += [tomllib.loads(f"key = {text}")["key"]] if kind == "text" else [p for p in text.split(".") if p]
            self._at += 1
        return parts

    def _value(self, path: Path) -> None:
        self.values[path] = self._mark()
        if self._skip("["):
            n = 0
            while not self._skip("]"):
                if not self._skip(",", "\n"):
                    self._value((*path, n))
                    n += 1
        elif self._skip("{"):
            while not self._skip("}"):
                if not self._skip(",", "\n"):
                    self._entry(path)
        else:
            while self._next not in (",", "\n", "]", "}", ""):
                self._at += 1
