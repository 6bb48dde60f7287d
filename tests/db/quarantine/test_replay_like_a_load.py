"""Once a rule is mended, a replay leaves what a fresh load of the file would; who plays loses nothing by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from db import ops, transfer
from db.errors import Refusal
from db.quarantine.results import Decided
from db.transfer import loading
from game.json_text import Unreadable
from game.legacy.codec import arrays
from game.legacy.codec.scalar import Scalar
from harness.databases import Database
from tests.db.quarantine.replays import column, kept, playing, replay, rows
from tests.db.quarantine.unread_values import unread
from tests.db.transfer.transferring import PASS, load, seeded, sqlite, value, written_to

SAMPLE = (0, 2, 5, 7, 9, 15)
"""In 5 and 7 an element of a document that can be read by now can't; in 15 an item that can be makes another a
repetition. `--exhaustive` takes 200 seeds."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(200) if metafunc.config.getoption("exhaustive") else SAMPLE)


def test_once_a_rule_is_mended_the_database_is_as_if_it_had_read_all_from_the_start(
    fenced_database: Database, tmp_path: Path, seed: int
) -> None:
    source = seeded(tmp_path / "game.db", 20)
    with unread(seed):
        first = load(fenced_database, source)
    originals = column(fenced_database, "select original from quarantine order by n")

    done = replay(fenced_database)

    assert len(done.of("loaded")) > 5
    assert column(fenced_database, "select original from quarantine order by n")[: len(originals)] == originals
    assert transfer.prove(source, fenced_database.owner).mismatches == 0
    assert replay(fenced_database).of("loaded", "released") == [], "a second replay finds nothing left to do"
    after, still = rows(fenced_database), kept(fenced_database)
    transfer.clear(fenced_database.owner, pass_token=PASS)
    second = load(fenced_database, source)
    assert second.held < first.held
    assert after == rows(fenced_database)
    assert still == kept(fenced_database)
    assert len(done.held) == second.held


@contextmanager
def unread_elements(text: str) -> Iterator[None]:
    """While it lasts, elements with the text in them can't be read."""
    inner = arrays._inner

    def reader(whole: str, part: Any, fields: Any) -> Any:
        if text in whole[part.start : part.end]:
            raise Unreadable("not_known_yet", "this version can't read it")
        return inner(whole, part, fields)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_inner", reader)
        patch.setattr(loading, "check_homes", lambda: None)
        yield


MATERIAL = '{"id":"%s","name":"%s","type":"material","quantity":%s}'
TWICE = "[" + MATERIAL % ("twice", "새것", 3) + "," + MATERIAL % ("twice", "옛것", 5) + "]"
PRESETS = '[{"name":"새것","equipment":{}}]'


@pytest.mark.parametrize("held", [True, False], ids=["held", "playing"])
def test_an_item_that_makes_another_a_repetition_waits_while_the_player_plays(
    fenced_database: Database, tmp_path: Path, held: bool
) -> None:
    """A fresh load keeps the first of two; a player who plays has the second, and keeps it."""
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    change = f"inventory = '{TWICE}', equipment = NULL, equipmentPresets = '{PRESETS}'"
    sqlite(source, f"UPDATE users SET {change} WHERE rowid = 2")
    with unread_elements("새것"):
        load(fenced_database, source)
    if not held:
        with written_to(fenced_database.owner) as conn:
            conn.execute("update users set held = false")

    done = replay(fenced_database)

    outcomes = {one.column: (one.outcome, one.why) for one in done.values if one.path == "$[0]"}
    assert outcomes["equipmentPresets"] == ("loaded", "")
    assert column(fenced_database, "select quantity from user_inventory where id = 'twice'") == [3 if held else 5]
    assert column(fenced_database, "select held from users where held") == [True] * held
    if held:
        assert outcomes["inventory"] == ("loaded", "")
        assert [(one.outcome, one.path) for one in done.values if one.why] == [("held", "$[1]")]
    else:
        assert outcomes["inventory"] == (
            "held",
            "this version can't read inventory $[1]: the id occurs twice in this document",
        )
    assert transfer.prove(source, fenced_database.owner).mismatches == 0


def test_a_document_of_a_player_who_plays_is_loaded_but_for_an_element(
    fenced_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A player who was let go plays on, also if a part of the document still can't be read."""
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    mail = '[{"id":"m1","attachments":{"gold":-5}},{"id":"m2","attachments":{"gold":7}}]'
    sqlite(source, f"UPDATE users SET mail = '{mail}' WHERE rowid = 2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "check_size", refuse)
        patch.setattr(loading, "check_homes", lambda: None)
        load(fenced_database, source)
    playing(fenced_database).close()
    with written_to(fenced_database.owner) as conn:
        conn.execute("update users set held = false")

    done = replay(fenced_database)

    still = [(one.outcome, one.column, one.path) for one in done.values if one.outcome != "loaded"]
    assert still == [("held", "mail", "$[0]")]
    assert column(fenced_database, "select gold from user_mail where id in ('m1', 'm2')") == [7]
    assert column(fenced_database, "select held from users where held") == []
    assert replay(fenced_database).of("loaded") == []
    decided = Decided(still_number(fenced_database), '{"id":"m1","attachments":{"gold":5}}')
    assert [one.outcome for one in replay(fenced_database, decided=decided).values] == ["loaded"]
    assert column(fenced_database, "select gold from user_mail where id in ('m1', 'm2') order by id") == [5, 7]


def refuse(_cell: object) -> None:
    raise Unreadable("not_known_yet", "this version can't read it")


def still_number(database: Database) -> int:
    return int(str(value(database.owner, "select n from quarantine where loaded_by is null and column_name = 'mail'")))


def test_what_this_version_can_not_read_of_another_document_keeps_nothing_back(
    fenced_database: Database, tmp_path: Path
) -> None:
    """The player is let go as a fresh load would; the presets stay as an earlier version read them."""
    source = seeded(tmp_path / "game.db", 3, anomalies=False)
    sqlite(source, f"UPDATE users SET mail = '[{{\"id\":\"later\"}}]', equipmentPresets = '{PRESETS}' WHERE rowid = 2")
    with unread_elements("later"):
        load(fenced_database, source)

    with unread_elements("새것"):
        done = replay(fenced_database)

    assert [(one.column, one.outcome) for one in done.values] == [("mail", "loaded")]
    assert column(fenced_database, "select held from users where held") == []
    assert column(fenced_database, "select name from user_equipment_presets where name = '새것'") == ["새것"]
    assert kept(fenced_database) == []


def test_a_name_that_another_player_was_given_meanwhile_stays_aside(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", 4, anomalies=False)
    sqlite(source, "UPDATE users SET nickname = x'ff' WHERE rowid = 2", "UPDATE users SET gold = 'x' WHERE rowid = 2")
    load(fenced_database, source)
    numbers = dict(column_pairs(fenced_database))
    taken = str(value(fenced_database.owner, "select nickname from users where nickname is not null limit 1"))
    before = rows(fenced_database), kept(fenced_database)

    with pytest.raises(Refusal, match="another player has this nickname"):
        replay(fenced_database, decided=Decided(numbers["nickname"], taken))

    assert (rows(fenced_database), kept(fenced_database)) == before
    with pytest.MonkeyPatch.context() as patch:
        read = Scalar.read
        patch.setattr(Scalar, "read", lambda scalar, cell: taken if cell == b"\xff" else read(scalar, cell))
        done = replay(fenced_database, decided=Decided(numbers["gold"], "12"))
    assert {one.column: (one.outcome, one.why) for one in done.values} == {
        "gold": ("loaded", ""),
        "nickname": ("aside", "another player has this nickname"),
    }
    assert column(fenced_database, "select gold from users where nickname is null") == [12]


def column_pairs(database: Database) -> list[tuple[str, int]]:
    with ops.connect(database.owner) as conn:
        return [(str(name), int(n)) for name, n in conn.execute("select column_name, n from quarantine").fetchall()]
