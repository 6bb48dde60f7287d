"""docs/mapping.md is what `invoke transfer.mapping` says; the task fits 80 columns, and its JSON is whole.

`pytest --write-pages` writes the page.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from db.console.output import outcome
from harness.cli.commands import mappings
from harness.cli.commands.mappings import COLUMNS, MEANINGS, MappingList
from tests.test_tasks import invoke

PAGE = Path(__file__).parents[1] / "docs" / "mapping.md"
HEAD = """# Where each legacy value goes

`invoke transfer.mapping` prints this page; with `--json` it writes it as data. It is the declaration that the program
decodes and encodes by (`game/legacy/codec/mapping.py`), so it can't differ from what the program does.

`else` says what happens if a value can't be read:

"""


def page(mapping: MappingList) -> str:
    parts = [HEAD + "".join(f"- *{word}*: {meaning}\n" for word, meaning in MEANINGS.items())]
    for section in mapping.sections:
        lines = [f"## `{section.source}` → {', '.join(f'`{name}`' for name in section.targets)}", ""]
        lines += [f"- {note}" for note in mappings.notes(section)]
        if section.lines:
            lines += ["", f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|"]
            lines += [f"| {' | '.join(map(cell, row))} |" for row in mappings.rows(section)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def cell(text: str) -> str:
    """Return a cell of a Markdown table: names and paths as code."""
    return text if text in MEANINGS else f"`{text}`".replace("|", "\\|")


def test_the_page_is_the_declaration(pytestconfig: pytest.Config) -> None:
    expected = page(mappings.listed())
    if pytestconfig.getoption("--write-pages"):
        PAGE.write_text(expected, "utf-8")
        return
    assert PAGE.read_text("utf-8") == expected, "write it: pytest tests/test_mapping_page.py --write-pages"


def test_the_listing_fits_eighty_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with outcome(None) as out:
        mappings.show(mappings.listed(), out)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 100
    assert [line for line in lines if cell_len(line) > 80] == []


def test_the_task_needs_no_environment_and_its_json_names_every_place_in_full(tmp_path: Path) -> None:
    done = invoke("transfer.mapping", "--json", str(tmp_path / "mapping.json"))
    assert done.returncode == 0, done.stderr
    sections = json.loads((tmp_path / "mapping.json").read_text("utf-8"))["sections"]
    lines = [line for section in sections for line in section["lines"]]
    assert {
        "source": "users.inventory",
        "key": "[].enhancementFails",
        "target": "user_inventory.fails",
        "type": "number ≥ 0",
        "unreadable": "held",
    } in lines
    assert all("." in line["source"] and "." in line["target"] for line in lines)
    assert [section["source"] for section in sections if not section["lines"]] == ["users.*", "*"]
