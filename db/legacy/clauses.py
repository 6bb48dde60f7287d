"""Finds the clauses of a CREATE TABLE statement that name collations or functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<skipped>--[^\n]*|/\*.*?(?:\*/|$)|\s+)"
    r"|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|.",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        return self.text.upper()


def checks(statement: str) -> Iterator[str]:
    """Yield the expression of each CHECK, with its parentheses."""
    tokens = _tokens(statement)
    for n, token in enumerate(tokens):
        if token.word == "CHECK":
            yield statement[tokens[n + 1].start : tokens[_closing(tokens, n + 1)].end]


def neutral_clauses(statement: str) -> Iterator[tuple[str, str]]:
    """Yield each COLLATE, CHECK, DEFAULT (…) and AS (…) as it is spelt, and a replacement that names nothing.

    The replacement changes no stored row: a STORED generated column keeps its values, a virtual one becomes NULL.
    """
    tokens = _tokens(statement)
    for n, token in enumerate(tokens[:-1]):
        if token.word == "COLLATE":
            yield statement[token.start : tokens[n + 1].end], "COLLATE BINARY"
        elif token.word in ("CHECK", "DEFAULT", "AS") and tokens[n + 1].text == "(":
            last = _closing(tokens, n + 1)
            end = tokens[last].end
            if token.word != "AS":
                yield statement[token.start : end], "CHECK (1)" if token.word == "CHECK" else "DEFAULT NULL"
            elif last + 1 < len(tokens) and tokens[last + 1].word == "STORED":
                first = n - 2 if n >= 2 and tokens[n - 1].word == "ALWAYS" else n
                yield statement[tokens[first].start : tokens[last + 1].end], ""
            else:
                yield statement[token.start : end], "AS (NULL)"


def _tokens(statement: str) -> list[_Token]:
    """Split the statement into tokens, without comments and white space."""
    tokens = _TOKEN.finditer(statement)
    return [_Token(token[0], token.start(), token.end()) for token in tokens if token["skipped"] is None]


def _closing(tokens: list[_Token], opening: int) -> int:
    """Return the place of the parenthesis that closes the one at `opening`."""
    depth = 0
    for n in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[n].text, 0)
        if depth == 0:
            return n
    return len(tokens) - 1
