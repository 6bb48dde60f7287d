"""The list of the quarantine: every byte for machines, and for people a page that no value can spoil."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from rich.cells import cell_len

from db import ops
from db.console.output import outcome
from harness.cli.commands import quarantine
from harness.databases import Database
from tests.db.transfer.transferring import load, seeded

HOSTILE = {
    "control characters": "\x1b[2J\x07\r\b많음",
    "bidi": "\u202egnp.exe\u2066\u200f",
    "a line's end": "one\ntwo\u2028three",
    "long and Korean": "가" * 50_000,
    "empty": "",
    "a byte that is not UTF-8": b"\xff\xfe\x00",
    "a zero-width name": "\u200b\ufeff",
}


@pytest.fixture
def loaded(fenced_database: Database, tmp_path: Path) -> Database:
    """A copy of one player for each hostile value of gold."""
    source = seeded(tmp_path / "game.db", len(HOSTILE), anomalies=False)
    with sqlite3.connect(source) as file:
        for row, text in enumerate(HOSTILE.values(), 1):
            value = "CAST(? AS TEXT)" if isinstance(text, bytes) else "?"
            file.execute(f"UPDATE users SET gold = {value} WHERE rowid = ?", (text, row))
    file.close()
    load(fenced_database, source)
    return fenced_database


def page(database: Database, capsys: pytest.CaptureFixture[str], **narrowed: str) -> list[str]:
    with ops.connect(database.owner) as conn, outcome(None) as out:
        quarantine.show(quarantine.listed(conn, "test", **narrowed), out)
    return capsys.readouterr().out.splitlines()


def test_no_value_breaks_the_page(loaded: Database, capsys: pytest.CaptureFixture[str]) -> None:
    lines = page(loaded, capsys, rule="gold.not_an_integer")

    assert [line for line in lines[:-1] if cell_len(line) > quarantine.WIDTH] == []
    assert all(one.isprintable() for line in lines for one in line)
    text = "\n".join(lines)
    assert "\\u001b[2J\\u0007\\u000d\\u0008많음" in text
    assert "\\u202egnp.exe\\u2066\\u200f" in text
    assert "hex fffe00" in text
    assert "text of 150,000 bytes" in text
    assert "(empty)" in text
    assert "\\u200b\\ufeff" in text


def test_the_list_for_machines_has_every_byte(loaded: Database) -> None:
    with ops.connect(loaded.owner) as conn:
        values = quarantine.listed(conn, "test", whole=True).values

    originals = [one.original if one.original is not None else bytes.fromhex(one.original_hex or "") for one in values]
    assert sorted(map(str, originals)) == sorted(map(str, HOSTILE.values()))
    assert json.dumps([one.original for one in values])


def test_a_rule_of_many_values_is_cut_and_narrowed(loaded: Database, capsys: pytest.CaptureFixture[str]) -> None:
    lines = page(loaded, capsys)
    assert f"  … and {len(HOSTILE) - quarantine.SHOWN_A_RULE} more: --rule gold.not_an_integer" in lines

    with ops.connect(loaded.owner) as conn:
        player = quarantine.listed(conn, "test").values[2].player or ""
    assert lines[0] == f"test: players held: {len(HOSTILE)}; values kept: {len(HOSTILE)}"
    assert page(loaded, capsys, player=player)[0] == f"test: players held: 1; values of {player} kept: 1"
    assert page(loaded, capsys, player="nobody") == ["test: no value of nobody is kept in the quarantine"]
