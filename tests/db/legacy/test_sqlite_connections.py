"""Every connection that the programs open to a SQLite file: what it may do, and how durable its commits are.

A call that is not in PLACES fails, so whoever opens another one says here what it is for. How SQLite syncs by default,
and whether it acts on foreign keys, depends on how it was built, so each connection that writes to the game's file sets
both, and these tests begin with the worst defaults.
"""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import pytest

from db.legacy import receipts
from db.samples import builders, seed
from db.snapshots import legacy as legacy_snapshots
from db.transfer.live import capture
from db.transfer.write_back import open_file, writing
from game.legacy import fence, sqlite_values
from game.legacy.numbering import RECEIPTS
from game.legacy.store import LegacyStore
from game.rules.commands import ClaimMail
from game.urls import LegacyUrl
from harness.play import arena
from harness.smoke import canaries
from tests.game.playing_on_stores import ask

ROOT = Path(__file__).parents[3]
Named: TypeAlias = ast.ClassDef | ast.FunctionDef
MEMORY = "a database in memory"
READS = "reads, and says so to SQLite"
LOOKS = "opened for writing, and writes no row"
DURABLE = "writes to the game's file; each commit is synced"
FENCE = "handed to game.legacy.fence alone, which syncs"
COPY = "makes a file without a journal, which gets its name once it was synced"
SCRATCH = "writes a file whose loss costs nothing of the players'"
BY_THE_CALLER = "opened as the caller says"

PLACES: dict[str, tuple[str, ...]] = {
    "game/legacy/bounded_functions.py _Evaluator.call": (MEMORY,),
    "game/legacy/sqlite_values.py connect": (BY_THE_CALLER,),
    "game/legacy/store.py LegacyStore._connect": (DURABLE,),
    "db/conversion/convert.py _rehearse": (MEMORY,),
    "db/conversion/convert.py _write": (COPY,),
    "db/conversion/encoded_rows.py RowReader._under_another_name": (SCRATCH,),
    "db/conversion/proof.py prove": (READS,),
    "db/conversion/proof.py _Comparison._both": (SCRATCH,),
    "db/cutover/context.py RunContext.legacy_fence": (READS,),
    "db/cutover/cutover_steps.py fenced": (FENCE,),
    "db/cutover/cutover_steps.py fence_legacy": (FENCE,),
    "db/cutover/emergency.py _turn_legacy": (FENCE,),
    "db/cutover/emergency.py _prove_legacy": (FENCE,),
    "db/cutover/preflight.py check_writers": (LOOKS,),
    "db/cutover/rollback_steps.py lost_writes": (READS,),
    "db/cutover/turning.py turning": (FENCE,),
    "db/follow/entering.py take": (FENCE,),
    "db/cutover/watchdog.py open_again": (FENCE,),
    "db/cutover/window.py capture_is_off": (READS,),
    "db/transfer/file_figures.py _memory": (MEMORY,),
    "db/transfer/live/capture.py waiting": (READS,),
    "db/legacy/compiling.py _Compiler.__init__": (MEMORY,),
    "db/legacy/opening.py _is_sqlite": (READS,),
    "db/legacy/opening.py reading": (READS,),
    "db/legacy/opening.py _tidy": (LOOKS,),
    "db/legacy/receipts.py number_all": (DURABLE,),
    "db/legacy/receipts.py number_open": (READS,),
    "db/transfer/live/capture.py open_file": (DURABLE,),
    "db/legacy/schema.py rehearse": (MEMORY,),
    "db/legacy/schema.py _statistics": (MEMORY,),
    "db/legacy/schema_code.py check": (MEMORY,),
    "db/legacy/source.py connected": (READS,),
    "db/legacy/source.py untouched": (READS,),
    "db/monitor/samples.py opened": (SCRATCH,),
    "db/quarantine/decided_values.py as_stored": (MEMORY,),
    "db/quarantine/decided_values.py units": (MEMORY,),
    "db/samples/seed.py _new_file": (COPY,),
    "db/snapshots/legacy.py _back_up": (COPY,),
    "db/snapshots/legacy.py _put_to_use": (DURABLE,),
    "db/transfer/rebuild.py _write": (COPY,),
    "db/transfer/rebuild.py _check": (LOOKS,),
    "db/transfer/target.py Target.users_columns": (MEMORY,),
    "db/transfer/target.py default_schema": (MEMORY,),
    "db/transfer/write_back.py open_file": (DURABLE,),
    "harness/bench/round.py _fill_bags": (SCRATCH,),
    "harness/bench/round.py _row_bytes": (READS,),
    "harness/cli/commands/first_serve.py _say_first_request": (READS,),
    "harness/history/recording.py heads": (READS,),
    "harness/load/scripts.py read": (READS,),
    "harness/play/arena.py LegacyStage.place": (SCRATCH,),
    "harness/play/arena.py LegacyStage.copy_to": (READS, SCRATCH),
    "harness/rehearsal/comparison.py compare": (READS, READS),
    "harness/rehearsal/setup.py copy": (READS, SCRATCH),
    "harness/rehearsal/setup.py _count": (READS,),
    "harness/smoke/canaries.py _legacy": (DURABLE,),
    "harness/strikes/watcher.py Watcher._legacy_writes": (LOOKS,),
    "harness/strikes/watcher.py Watcher._mark": (READS,),
    "harness/strikes/world.py World._everyone": (READS,),
    "harness/sweeps/legacy_faults.py Writer.__init__": (SCRATCH,),
}
SIGNS: dict[str, Callable[[str, str], bool]] = {
    MEMORY: lambda call, _function: "':memory:'" in call,
    READS: lambda call, function: "readonly=True" in call or "mode=ro" in function,
    LOOKS: lambda _call, function: "COMMIT" not in function,
    DURABLE: lambda _call, function: "PRAGMA synchronous=EXTRA" in function,
    FENCE: lambda _call, function: "legacy_fence." in function or "turn(conn, check)" in function,
    COPY: lambda _call, function: "synchronous" in function or ".backup(target" in function,
    SCRATCH: lambda _call, _function: True,
    BY_THE_CALLER: lambda _call, _function: True,
}
"""The text in the call, or in the function around it, of a connection of that kind."""


def openings() -> Iterator[tuple[str, str, str]]:
    """Each call that opens a connection: its place, itself, and the text of the function around it."""
    for path in sorted(path for layer in ("game", "db", "harness") for path in (ROOT / layer).rglob("*.py")):
        if "connect(" in (text := path.read_text()):
            for within, call in _openings(ast.parse(text), ()):
                names = ".".join(node.name for node in within)
                yield f"{path.relative_to(ROOT)} {names}", ast.unparse(call), ast.unparse(within[-1])


def _openings(node: ast.AST, within: tuple[Named, ...]) -> Iterator[tuple[tuple[Named, ...], ast.Call]]:
    if isinstance(node, Named):
        within = (*within, node)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sqlite3.connect", "sqlite_values.connect"):
        yield within, node
    for child in ast.iter_child_nodes(node):
        yield from _openings(child, within)


def test_every_connection_is_listed_and_is_what_the_list_says() -> None:
    opened: dict[str, list[tuple[str, str]]] = {}
    for place, call, function in openings():
        opened.setdefault(place, []).append((call, function))
    assert {place: len(calls) for place, calls in opened.items()} == {p: len(kinds) for p, kinds in PLACES.items()}
    wrong = [
        f"{place}: {kind}"
        for place, kinds in PLACES.items()
        for kind, (call, function) in zip(kinds, opened[place], strict=True)
        if not SIGNS[kind](call, function)
    ]
    assert wrong == []


WORST = {"synchronous": "OFF", "foreign_keys": "ON"}
"""Settings of a connection whose defaults depend on how SQLite was built."""

WANTED = {"synchronous": 3, "foreign_keys": 0}
"""Each commit is synced (EXTRA), and the folder too where the commit is a journal's removal; no row takes another."""


class Recorder(sqlite_values._Connection):
    """Begins with the worst defaults, and notes the settings with which a transaction begins to write."""

    noted: ClassVar[list[dict[str, int]]] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for setting, value in WORST.items():
            super().execute(f"PRAGMA {setting} = {value}")

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql.startswith("BEGIN IMMEDIATE"):
            self.noted.append(
                {setting: super(Recorder, self).execute(f"PRAGMA {setting}").fetchone()[0] for setting in WORST}
            )
        return super().execute(sql, parameters)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """The settings of the transactions that write, of connections made from here on."""
    values: list[dict[str, int]] = []
    monkeypatch.setattr(Recorder, "noted", values)
    monkeypatch.setattr(sqlite_values, "_Connection", Recorder)
    return values


PASS = "a pass of the tests"


def _play(path: Path) -> None:
    with closing(LegacyStore(path)) as store:
        assert not ask(store, ClaimMail("m1")).replayed


def _number(path: Path) -> None:
    _play(path)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(f"UPDATE {RECEIPTS} SET seq = NULL, chain = NULL")
    assert receipts.number_all(path) == 1


def _write_back(path: Path) -> None:
    _fence(path)
    with closing(open_file(path)) as file, writing(file, str(path), PASS) as connection:
        connection.execute("UPDATE users SET gold = 1")


def _canaries(path: Path) -> None:
    _fence(path)
    with canaries._legacy(LegacyUrl(path), PASS) as connection:
        connection.execute("UPDATE users SET gold = 1")


def _restore(path: Path) -> None:
    legacy_snapshots._put_to_use(path, keep_fence=True)


def _fence(path: Path) -> None:
    with closing(sqlite_values.connect(path)) as connection:
        fence.raise_fence(connection, pass_token=PASS)


def _turn(path: Path) -> None:
    with closing(sqlite_values.connect(path)) as connection, fence.turning(connection, "fenced", pass_token=PASS):
        pass


def _lift(path: Path) -> None:
    _fence(path)
    with closing(sqlite_values.connect(path)) as connection:
        fence.lift(connection)


def _capture(path: Path) -> None:
    with closing(capture.open_file(path)) as connection:
        capture.turn_on(connection, str(path), run="run")
        capture.turn_off(connection)


WRITERS: dict[str, Callable[[Path], None]] = {
    "game/legacy/store.py LegacyStore._connect": _play,
    "db/legacy/receipts.py number_all": _number,
    "db/transfer/live/capture.py open_file": _capture,
    "db/transfer/write_back.py open_file": _write_back,
    "harness/smoke/canaries.py _legacy": _canaries,
    "db/snapshots/legacy.py _put_to_use": _restore,
    "game/legacy/fence.py raise_fence": _fence,
    "game/legacy/fence.py turning": _turn,
    "game/legacy/fence.py lift": _lift,
}


def test_every_writer_is_tried() -> None:
    assert {place for place, kinds in PLACES.items() if DURABLE in kinds} <= set(WRITERS)


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("place", WRITERS)
def test_a_writer_of_the_games_file_has_the_settings_wanted_and_leaves_the_journal_mode(
    place: str, mode: str, noted: list[dict[str, int]], tmp_path: Path
) -> None:
    path = tmp_path / "game.db"
    seed.empty_legacy(path)
    with closing(sqlite3.connect(path)) as conn, conn:
        arena.insert_legacy(conn, builders.legacy_row(builders.player("hana", mail={"m1": {"gold": 50}})))
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode,)
    noted.clear()

    WRITERS[place](path)

    assert noted
    assert all(settings == WANTED for settings in noted)
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA journal_mode").fetchone() == (mode,)
