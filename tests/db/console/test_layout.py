"""Tables and last lines on terminals: no word, URL or command is broken, for it is copied."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from db.console import layout
from db.console.layout import TextTable
from db.counts import counted

URL = "postgresql://sudamr_owner@production-db.example.net:5432/sudamr?schema=game&sslmode=verify-full&sslrootcert=/x"
COMMANDS = (
    "invoke cutover --env production --abort",
    "invoke transfer.convert --source '/srv/game.db' --into NEW",
    "invoke rollback --env production --discard-writes --accept-loss 12",
    "kill -- -4711",
)
TABLES = {
    "a list": TextTable(("what", "found"), (("url", URL), ("next", f"{COMMANDS[0]} (opens the file)")), (False, False)),
    "numbers": TextTable(
        ("column", "bytes"), (("lastSinglePlayerMissionRewardAt", "12,345"), ("한글", "1")), (False, True)
    ),
    "a URL": TextTable(("rule", "where", "reason"), (("held", URL, "a reason of a good many words"),), (False,) * 3),
    "many": TextTable(tuple("abcdefghij"), (tuple(f"word_{n}_of_twelve" for n in range(10)),) * 2, (False,) * 10),
    "markup": TextTable(("what", "found"), (("[bold]", "[/]"),), (False, False)),
}


def printed(cells: TextTable, width: int | None) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=width is not None, width=width, color_system=None)
    layout.print_table(console, cells)
    return screen.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200, None])
@pytest.mark.parametrize("name", TABLES)
def test_every_word_of_a_table_is_whole(name: str, width: int | None) -> None:
    cells = TABLES[name]

    text = printed(cells, width)

    wanted = [word for row in cells.rows for value in row for word in layout.words(value)]
    assert [word for word in wanted if word not in text] == []
    if width is not None:  # Only what can't be shorter is longer than the line.
        longest = max(cell_len(word) for word in wanted) + max(cell_len(name) for name in cells.columns) + 8
        assert max(map(cell_len, text.splitlines())) <= max(width, longest)


def test_a_log_has_one_line_for_each_name_and_value() -> None:
    assert printed(TABLES["a list"], None).splitlines()[0] == f"  url   {URL}"


@pytest.mark.parametrize("width", [20, 40, 80, 120, 400])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_last_line_breaks_between_its_parts_and_never_in_a_command(command: str, width: int) -> None:
    line = f"undone · players play on SQLite · SQLite open, Postgres fenced · next: {command} (a reason, in words)"

    lines = layout.last_line(line, width).splitlines()

    assert any(command in one for one in lines)
    assert " ".join(one.strip() for one in lines).replace(" · ", " ") == line.replace(" · ", " ")
    assert max(map(cell_len, lines)) <= max(width, cell_len(f"    next: {command}"))
    assert (len(lines) == 1) == (cell_len(line) <= width)


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (1, "texts", "1 text"),
        (0, "texts", "0 texts"),
        (2_000, "rows", "2,000 rows"),
        (1, "processes", "1 process"),
        (1, "players held", "1 player held"),
        (1, "indexes", "1 index"),
        (1, "databases", "1 database"),
    ],
)
def test_a_count_agrees_with_its_noun(number: int, nouns: str, text: str) -> None:
    assert counted(number, nouns) == text


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


TEXTS = {
    "a refusal": f"refused {URL}: expected a marker; found another.\n  Start it: {COMMANDS[0]}, then go on.",
    "indented": "    a step that waits until each process of the service reads the file that the service reads, again",
    "aligned": "marker      production",
    "one word": "user-1.1700000000000." + "0" * 64,
}


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("name", TEXTS)
def test_no_line_of_people_s_text_is_broken_in_a_word_or_a_command(name: str, width: int) -> None:
    text = TEXTS[name]
    fitted = layout.fitted(text, Console(file=Screen(), width=width))
    assert "".join(fitted.split()) == "".join(text.split())
    for line in fitted.splitlines():
        assert cell_len(line) <= width or len(layout.words(line)) == 1, line
    assert layout.fitted(text, Console(file=io.StringIO(), width=width)) == text


@pytest.mark.parametrize("width", [20, 40, 80])
def test_what_fits_stays_as_it_is_and_an_indent_goes_on(width: int) -> None:
    screen = Console(file=Screen(), width=width)
    assert layout.fitted("a  b", screen) == "a  b"
    assert all(line.startswith("    ") for line in layout.fitted(TEXTS["indented"], screen).splitlines())
