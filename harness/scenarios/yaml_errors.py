"""Says what is wrong with a text that is no YAML: the place to mend, what was expected there, what was found, the cure.

The parser reports where it gave up, which for an open quote or bracket is the end of the file; here the place is where
it was opened. An error that is not listed keeps the parser's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ruamel.yaml.error import MarkedYAMLError, StreamMark
from ruamel.yaml.reader import ReaderError


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a text; line and column count from 1."""

    line: int
    column: int


class BadYaml(Exception):
    """The text is no YAML of the part that is read here."""

    def __init__(self, mark: Mark, expected: str, found: str, cure: str) -> None:
        super().__init__(f"{mark.line}:{mark.column}: expected {expected}; found {found}. {cure}")
        self.mark = mark
        self.expected = expected
        self.found = found
        self.cure = cure


TOKENS = {
    "<stream end>": "the end of the file",
    "<scalar>": "a value",
    "<block mapping start>": "another mapping",
    "<block sequence start>": "another list",
    "<block end>": "the end of the mapping",
}
CLOSING = {"{": "}", "[": "]"}
COMPARE = "Compare it with the example in scenarios/README.md."
INDENT = "Put the keys of one mapping, and the dashes of one list, into the same column."


def mark_of(mark: StreamMark | None) -> Mark:
    """Return the parser's place; the beginning where it names none."""
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)


def unreadable(text: str, error: ReaderError) -> BadYaml:
    """Return the error of a character that no YAML may hold, such as a control character."""
    at = next((n for n, character in enumerate(text) if ord(character) == _code(error)), 0)
    mark = Mark(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
    return BadYaml(mark, "text that can be printed", f"the character U+{_code(error):04X}", "Remove it.")


def _code(error: ReaderError) -> int:
    character = error.character
    return character if isinstance(character, int) else ord(character)


def explained(text: str, error: MarkedYAMLError) -> BadYaml:
    """Return the parser's error in words, with its cure."""
    problem = error.problem or "something else"
    for pattern, explain in _EXPLAINED:
        if matched := re.search(pattern, problem):
            return explain(text, error, matched)
    return BadYaml(mark_of(error.problem_mark), "YAML", problem.removeprefix("found "), COMPARE)


def _character(text: str, error: MarkedYAMLError, matched: re.Match[str]) -> BadYaml:
    del text
    mark = mark_of(error.problem_mark)
    if matched[1] == "\\t":
        return BadYaml(mark, "spaces", "a tab", "Indent with spaces: YAML allows no tab there.")
    return BadYaml(mark, "a value", f"{matched[1]!r} at its beginning", "Put the text into quotes.")


def _open_quote(_text: str, error: MarkedYAMLError, _found: re.Match[str]) -> BadYaml:
    mark = mark_of(error.context_mark or error.problem_mark)
    return BadYaml(mark, "a quote that ends this text", "none", "Close it with the quote that opens it.")


def _second_colon(_text: str, error: MarkedYAMLError, _found: re.Match[str]) -> BadYaml:
    cure = f"Put a text that holds a colon and a space into quotes. {INDENT}"
    return BadYaml(mark_of(error.problem_mark), "one key a line", "another colon", cure)


def _open_bracket(text: str, error: MarkedYAMLError, matched: re.Match[str]) -> BadYaml:
    mark = mark_of(error.context_mark or error.problem_mark)
    line = text.splitlines()[mark.line - 1 : mark.line]
    opened = line[0][mark.column - 1 : mark.column] if line else ""
    closing = CLOSING.get(opened, matched[1])
    where = mark_of(error.problem_mark).line
    token = TOKENS.get(matched[2], repr(matched[2]))
    cure = f"Close it with {closing!r}, or separate its values by commas."
    return BadYaml(mark, f"{closing!r} for the {opened!r} that opens here", f"{token} in line {where}", cure)


def _block(_text: str, error: MarkedYAMLError, matched: re.Match[str]) -> BadYaml:
    mark = mark_of(error.problem_mark)
    if matched[1] in ("}", "]", ","):
        return BadYaml(mark, "the next key", f"{matched[1]!r}, which nothing opens", "Remove it, or add what opens it.")
    token = TOKENS.get(matched[1], repr(matched[1]))
    return BadYaml(mark, "the column of the lines above", f"{token} in another column", INDENT)


def _no_colon(_text: str, error: MarkedYAMLError, _found: re.Match[str]) -> BadYaml:
    mark = mark_of(error.context_mark or error.problem_mark)
    return BadYaml(mark, "a colon and a space after the key", "none", "Write it as key: value.")


def _escape(_text: str, error: MarkedYAMLError, matched: re.Match[str]) -> BadYaml:
    cure = "Use single quotes, or write \\\\ for one backslash."
    return BadYaml(mark_of(error.problem_mark), "an escape of YAML", f"\\{matched[1]}", cure)


_EXPLAINED: tuple[tuple[str, Callable[[str, MarkedYAMLError, re.Match[str]], BadYaml]], ...] = (
    (r"found character '(.+)' that cannot start", _character),
    (r"found unexpected end of stream|found unexpected document separator", _open_quote),
    (r"mapping values are not allowed", _second_colon),
    (r"expected ',' or '(.)', but got '(.*)'", _open_bracket),
    (r"expected <block end>, but found '?([^']*)'?", _block),
    (r"could not find expected ':'", _no_colon),
    (r"found unknown escape character '(.)'", _escape),
)
"""By the words of ruamel.yaml's problem."""
