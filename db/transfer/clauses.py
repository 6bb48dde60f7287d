"""Clauses of a CREATE TABLE statement: those that name collations or functions, found in its text."""

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
    """The expression of each CHECK, with its parentheses."""
    tokens = _tokens(statement)
    for n, token in enumerate(tokens):
        if token.word == "CHECK":
            yield statement[tokens[n + 1].start : tokens[_closing(tokens, n + 1)].end]


def neutral_clauses(statement: str) -> Iterator[tuple[str, str]]:
    """Each COLLATE, CHECK, DEFAULT (…) and AS (…) as it is spelt, with a clause that names nothing.

    No row changes with it: a generated column that is stored keeps what was computed, another one is NULL.
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
    """The statement's tokens without comments and white space."""
    found = _TOKEN.finditer(statement)
    return [_Token(token[0], token.start(), token.end()) for token in found if token["skipped"] is None]


def _closing(tokens: list[_Token], opening: int) -> int:
    """The place of the parenthesis that closes the one at `opening`."""
    depth = 0
    for n in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[n].text, 0)
        if depth == 0:
            return n
    return len(tokens) - 1
