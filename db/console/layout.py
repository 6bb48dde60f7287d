"""Fits text and tables into a terminal's width. Never breaks a word, a URL or a command: people copy them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WHOLE = re.compile(r"`[^`]+`|invoke [a-z.]+(?: --[\w-]+(?: (?!--)[^\s,;:()]+)?)*\S*|kill -\S+ -?\w+\S*|\S+")
"""Matches what stays on one line: a command with its options, or else a word.

A command that was broken after `--env production` and pasted would run without its `--abort`.
"""

EDGES = 3
"""Columns that a table needs beside each cell: a blank on both sides and a line."""

GAP = "  "


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table as text. numbers: which columns are set to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[bool, ...]

    @property
    def is_list(self) -> bool:
        """True for a table of names and values."""
        return len(self.columns) == 2 and self.columns[0] == "what"

    def widths(self, width: int) -> list[int] | None:
        """Return the width of each column in a terminal of this width; None if a word would have to be broken."""
        texts = [[name, *(row[n] for row in self.rows)] for n, name in enumerate(self.columns)]
        wished = [max(cell_len(line) for text in column for line in text.split("\n")) for column in texts]
        least = [max(cell_len(word) for text in column for word in [*words(text), ""]) for column in texts]
        room = width - 1 - EDGES * len(self.columns)
        if sum(least) > room:
            return None
        while sum(wished) > room:
            widest = max(range(len(wished)), key=lambda n: (wished[n] > least[n], wished[n]))
            wished[widest] -= 1
        return wished


def words(text: str) -> list[str]:
    """Split the text into words and commands."""
    return WHOLE.findall(text)


def fold(text: str, width: int, *, indent: str = "") -> str:
    """Break the text into lines of at most this width, except for a longer word. Further lines begin with `indent`."""
    lines = [""]
    for word in words(text):
        longer = f"{lines[-1]} {word}" if lines[-1].strip() else lines[-1] + word
        if lines[-1].strip() and cell_len(longer) > width:
            lines.append(indent + word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def fitted(text: str, console: Console) -> str:
    """Fold each line that is too long for the console's terminal, with its indent. Leaves text for a file as it is."""
    # FORCE_COLOR makes Rich take a file for a terminal, so the stream itself is asked.
    width = console.width if console.file.isatty() else sys.maxsize
    return "\n".join(line if cell_len(line) <= width else _indented(line, width) for line in text.split("\n"))


def _indented(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip(" "))]
    return indent + fold(line, width - len(indent)).replace("\n", f"\n{indent}")


def last_line(line: str, width: int) -> str:
    """Lay out a line of parts, joined by ` · `: a part begins a line of its own where they don't fit together."""
    if cell_len(line) <= width:
        return line
    return "\n".join(fold(part, width - len(GAP), indent=GAP * 2) for part in line.split(" · "))


def print_table(console: Console, cells: TextTable) -> None:
    """Print the table: names and values as lines, else with borders, else each row as lines where it is too wide.

    Where no terminal is, nothing is folded.
    """
    width = console.width if console.is_terminal else None
    widths = None if cells.is_list else cells.widths(width or 10**9)
    if widths is not None:
        _print_borders(console, cells, widths)
        return
    for line in _list(cells.rows, width) if cells.is_list else _records(cells, width):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_borders(console: Console, cells: TextTable, widths: Sequence[int]) -> None:
    table = Table(header_style="bold")
    for name, width, number in zip(cells.columns, widths, cells.numbers, strict=True):
        table.add_column(name, justify="right" if number else "left", width=width)
    for row in cells.rows:
        folded = ["\n".join(fold(line, width) for line in t.split("\n")) for t, width in zip(row, widths, strict=True)]
        table.add_row(*map(Text, folded))
    wide = console if console.is_terminal else Console(file=console.file, width=1 + sum(widths) + EDGES * len(widths))
    wide.print(table)


def _records(cells: TextTable, width: int | None) -> Iterator[str]:
    for n, row in enumerate(cells.rows):
        if n:
            yield ""
        yield from _list(tuple(zip(cells.columns, row, strict=True)), width)


def _list(rows: Sequence[tuple[str, ...]], width: int | None) -> Iterator[str]:
    names = max((cell_len(name) for name, _ in rows), default=0)
    indent = " " * (len(GAP) + names + len(GAP))
    for name, value in rows:
        begin = GAP + name + " " * (names - cell_len(name)) + GAP
        for line in value.split("\n"):
            folded = line if width is None else fold(line, width - len(indent)).replace("\n", f"\n{indent}")
            yield begin + folded
            begin = indent
