"""`invoke transfer.mapping`: where each value of a legacy file goes, for a reviewer of the game's team."""

from __future__ import annotations

from dataclasses import dataclass

from db.console.output import Output
from game.legacy.codec import listing
from game.legacy.codec.listing import MappingSection
from game.legacy.codec.mapping import OTHERS, USERS


@dataclass(frozen=True, slots=True)
class MappingList:
    """The declared mapping, section by section."""

    sections: tuple[MappingSection, ...]


def listed() -> MappingList:
    """Return the mapping that this version of the program decodes and encodes by."""
    return MappingList(tuple(listing.sections(USERS, OTHERS)))


def notes(section: MappingSection) -> list[str]:
    """Return sentences about the document as a whole."""
    if not section.lines:
        return [f"{section.shape}: {section.remainder}"]
    lines = [section.shape]
    if section.unreadable:
        refused = "; commands on its table are refused" if section.refuses else ""
        lines.append(f"if it can't be read at all: {section.unreadable}{refused}")
    if section.remainder:
        lines.append(f"everything else in it: {section.remainder}")
    return lines


def rows(section: MappingSection) -> list[tuple[str, str, str, str]]:
    """Return (key or legacy column, column, type, what happens to another value) for each line of the section."""
    table = section.targets[0]
    return [
        (
            line.key or line.source.partition(".")[2],
            line.target.removeprefix(f"{table}."),
            line.type,
            line.unreadable,
        )
        for line in section.lines
    ]


COLUMNS = ("legacy", "column", "type", "else")
"""The headings of `rows`. else: what happens if the value can't be read."""

MEANINGS = {
    "held": "the player waits until someone decides; the quarantine has the value",
    "aside": "the player plays on; the quarantine has the value",
    "kept": "the value stays in the cells of its row",
}
"""The words below `else`."""


def show(mapping: MappingList, out: Output) -> None:
    """Print a table for each section, with the notes on it below its title."""
    out.say("else: what happens if a value can't be read.")
    for word, meaning in MEANINGS.items():
        out.say(f"  {word}: {meaning}")
    for section in mapping.sections:
        title = f"{section.source} → {', '.join(section.targets)}"
        text = "\n".join([title, *(f"  {note}" for note in notes(section))])
        if section.lines:
            out.table(text, COLUMNS, rows(section))
        else:
            out.say(text)
