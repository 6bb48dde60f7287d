"""Breaks text into lines of a terminal, but no command that has room. A long path or URL is broken at its parts."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

from db.console import layout

AFTER = frozenset("/:;,.@=_-|")
BEFORE = frozenset("?&#")
"""A parameter of a URL begins with these, so they stand at the head of a line."""


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of the text, none wider than `width` cells; a Korean letter takes two cells."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in _words(paragraph, width):
            longer = f"{line} {word}" if line else word
            if cell_len(longer) <= width:
                line = longer
                continue
            pieces = [word] if cell_len(word) <= width else _pieces(word, width)
            lines += [line] if line else []
            lines += pieces[:-1]
            line = pieces[-1]
        lines.append(line)
    return lines


def _words(paragraph: str, width: int) -> Iterator[str]:
    """Yield the words; a command with its options is one of them where it has room, for people copy it."""
    indent = paragraph[: len(paragraph) - len(paragraph.lstrip(" "))]
    for word in layout.words(paragraph):
        yield from [indent + word] if cell_len(indent + word) <= width else (indent + word).split(" ")
        indent = ""


def _pieces(word: str, width: int) -> list[str]:
    pieces: list[str] = []
    while cell_len(word) > width:
        end = _break(word, len(chop_cells(word, width)[0]))
        pieces.append(word[:end])
        word = word[end:]
    return [*pieces, word]


def _break(word: str, fits: int) -> int:
    """Return where to break a word of which `fits` letters have room: before a parameter, else after a sign."""
    for ends in (
        [at for at in range(1, fits + 1) if word[at : at + 1] in BEFORE],
        [at for at in range(1, fits + 1) if word[at - 1] in AFTER],
    ):
        if ends and ends[-1] > fits // 4:  # A line of a few letters would help nobody.
            return ends[-1]
    return fits
