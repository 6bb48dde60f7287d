"""Measures what a round of a live copy costs for a dirty player: by parts, kinds of actions, and sizes of players.

Players act by the game's own store on a file with capture on; then a round brings them to Postgres. The cost is
processor time, which a round takes from the players of the same machine: ours by the thread's clock, Postgres's own by
the clock of its process.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from db import ops, servers
from db.console.output import Output
from db.console.progress import Advance, Progress
from db.errors import Refusal
from db.ops import fence
from db.samples import seed
from db.transfer.live import capture, lines, players, writing
from db.transfer.live.session import LiveTransfer, transferring
from game.dispatch import Request, dispatch
from game.errors import Refused
from game.json_text import dumps
from game.legacy import codec, sqlite_values
from game.legacy.sqlite_values import quote
from game.legacy.store import LegacyStore
from game.rules.chance import Chance
from game.rules.commands import decode
from harness.bench.samples import TargetsJudgement, Threshold, Verdict
from harness.bench.setup import DURABLE, PASS, SECRET
from harness.bench.stopwatch import REST, Stopwatch
from harness.databases import Databases
from harness.load import scripts

ACTIONS = ("equip", "enhance", "sell_item", "claim_mail", "save_preset")
SIZES = {"as made": 1, "four bags": 4}
"""How often a player has the items of his bag: 40 KB as a player is made, 80 KB with four of them."""

JUDGED_SIZE = "as made"
MOST_MS = 2.0
"""Of a dirty player, all in: at 200 players a second, rounds then take less than half of a processor."""

PLAYERS_OF_FILE = 4
"""So many players of the file for one of a round: every second acts, and not every one can do everything."""

NOW_MS = 1_770_000_000_000

READ_LOG, READ_FILE, READ_TARGET = "read log", "read file", "read target"
DECODE, COMPARE, WRITE, VERIFY = "decode", "compare", "write", "rebuild, verify"
JOURNALS, COMMIT = "journals", "commit"
PARTS = (READ_LOG, READ_FILE, READ_TARGET, DECODE, COMPARE, WRITE, VERIFY, JOURNALS, COMMIT, REST)

_TIMED = (
    (capture, "read", READ_LOG),
    (players, "_read", READ_FILE),
    (players, "_at_positions", READ_TARGET),
    (players, "_fetch", READ_TARGET),
    (codec, "decode_row", DECODE),
    (codec, "encode_row", VERIFY),
    (players, "_check", VERIFY),
    (writing, "compare", COMPARE),
    (writing, "write", WRITE),
    (lines, "apply", JOURNALS),
    (capture, "forget", COMMIT),
)
"""The functions whose time is counted for each part; what one of another part does within them is that one's."""


@dataclass(frozen=True)
class RoundCost:
    """One kind of action by players of one size: milliseconds of processor time for a dirty player, by part.

    rows: bytes of a player's row. postgres_ms: of its process, None where that can't be seen. of_limit: of the limit.
    elapsed_ms: of the round, for a dirty player, by the clock.
    """

    action: str
    size: str
    row_bytes: int
    players: int
    parts_ms: dict[str, float]
    own_ms: float
    postgres_ms: float | None
    all_ms: float | None
    of_limit: float | None
    elapsed_ms: float


@dataclass(frozen=True)
class RoundReport:
    """All kinds and sizes, and what they were measured on. limit_ms: of players as they are made."""

    verdict: Verdict
    server: str
    rounds: int
    limit_ms: float
    costs: list[RoundCost]
    missed: tuple[str, ...]
    unmeasured: tuple[str, ...]


@dataclass
class _Measured:
    """What was measured of one kind of action so far, in seconds."""

    watch: Stopwatch = field(default_factory=Stopwatch)
    postgres: float = 0.0
    elapsed: float = 0.0
    players: int = 0


def run(turns: int, at_once: int, kind: str | None, progress: Progress) -> RoundReport:
    """Make so many rounds of each kind and size, with so many dirty players each. Raises Refusal for less than one."""
    if turns < 1 or at_once < 1:
        raise Refusal(
            "one round of one player at least",
            f"{turns} and {at_once}",
            do="Say for instance --rounds 5 --players 50",
        )
    costs: list[RoundCost] = []
    progress.say("starting a throwaway Postgres")
    with servers.start(kind, settings=DURABLE) as server, Databases(server) as databases, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sudamr-bench-")))
        with progress.bar("rounds", len(SIZES) * len(ACTIONS) * turns, "rounds") as advance:
            for number, (size, bags) in enumerate(SIZES.items()):
                path = folder / f"game-{number}.db"
                seed.seed_legacy(path, PLAYERS_OF_FILE * at_once, anomalies=False)
                _fill_bags(path, bags)
                clone = databases.clone(fenced=True)
                with ops.connect(clone.owner) as conn:
                    fence.raise_fence(conn, pass_token=PASS)
                with transferring(path, clone.owner, run="bench", pass_token=PASS) as live:
                    live.copy(live.begin(), lambda _progress: None)
                    for action, measured in _measure(live, turns, at_once, advance):
                        costs.append(_cost(action, size, _row_bytes(path), measured))
        engine = str(server)
    judged = judge(costs)
    return RoundReport(judged.verdict, engine, turns, MOST_MS, costs, judged.missed, judged.unmeasured)


def _measure(live: LiveTransfer, turns: int, at_once: int, advance: Advance) -> Iterator[tuple[str, _Measured]]:
    measured = {action: _Measured() for action in ACTIONS}
    planned = _planned(live.path)
    backend = _backend(live.conn)
    numbers: Counter[str] = Counter()
    with closing(LegacyStore(live.path)) as store:
        live.round()  # The first reads the schema and prepares statements.
        for _turn in range(turns):
            for action, one in measured.items():
                _act(store, planned[action], action, at_once, numbers)
                _round(live, one, backend)
                advance(1)
    yield from measured.items()


def _planned(path: Path) -> dict[str, deque[tuple[str, dict[str, object]]]]:
    """Return what players are to do by kind, one after the other: all once, before one has his second turn."""
    planned: dict[str, list[tuple[int, str, dict[str, object]]]] = defaultdict(list)
    for player, script in scripts.read(path, players=10**6).items():
        seen: Counter[str] = Counter()
        for action, fields in script:
            planned[action].append((seen[action], player, fields))
            seen[action] += 1
    return {
        action: deque((player, fields) for _n, player, fields in sorted(asked, key=lambda one: one[0]))
        for action, asked in planned.items()
    }


def _act(
    store: LegacyStore,
    asked: deque[tuple[str, dict[str, object]]],
    action: str,
    players_wanted: int,
    numbers: Counter[str],
) -> None:
    """Have so many players act, each once; what is refused changes nothing and is not counted."""
    acted: set[str] = set()
    while asked and len(acted) < players_wanted and asked[0][0] not in acted:
        player, fields = asked.popleft()
        numbers[player] += 1
        request = Request(player, f"{action}-{numbers[player]}", decode(action, fields))
        try:
            dispatch(store, request, clock=lambda: NOW_MS, chance=lambda key: Chance(SECRET, key))
        except Refused:
            continue
        acted.add(player)


def _round(live: LiveTransfer, measured: _Measured, backend: psutil.Process | None) -> None:
    watch, real = measured.watch, live.rounds.transaction
    live.rounds.transaction = watch.ending(COMMIT, real)
    before = _processor(backend)
    try:
        with watch.timing(_TIMED):
            watch.start()
            result = live.round()
            watch.stop()
    finally:
        live.rounds.transaction = real
    measured.postgres += _processor(backend) - before
    measured.elapsed += result.seconds
    measured.players += result.players


def _processor(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def _backend(conn: ops.Connection) -> psutil.Process | None:
    """Return the process of Postgres that serves this connection; None where it runs elsewhere.

    In a container it bears another number outside: it is the one whose title names the database, in which nobody else
    is at work, and whose own number is the connection's.
    """
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline())
            numbers = (process.pid, _inner_number(process.pid))
            if title.startswith("postgres: ") and f" {conn.info.dbname} " in title and conn.info.backend_pid in numbers:
                return process
        except psutil.Error:  # It has ended, or is another user's.
            continue
    return None


def _inner_number(pid: int) -> int | None:
    """Return the number that a process has in its own container; None where the system tells no such thing."""
    try:
        lines_of = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[-1]) for line in lines_of if line.startswith("NSpid:")), None)


def _fill_bags(path: Path, bags: int) -> None:
    """Give every player the items of his bag so many times, each under an id of its own."""
    if bags == 1:
        return
    with closing(sqlite3.connect(path)) as connection, connection:
        for rowid, text in connection.execute("SELECT rowid, inventory FROM users").fetchall():
            items = json.loads(text or "[]")
            more = [{**item, "id": f"{item['id']}-{n}"} for n in range(1, bags) for item in items]
            connection.execute("UPDATE users SET inventory = ? WHERE rowid = ?", (dumps([*items, *more]), rowid))


def _row_bytes(path: Path) -> int:
    """Return how many bytes a player's row has, on average."""
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(users)")]
        size = " + ".join(f"coalesce(length(CAST({quote(name)} AS BLOB)), 0)" for name in names)
        return int(connection.execute(f"SELECT avg({size}) FROM users").fetchone()[0])


def _cost(action: str, size: str, row_bytes: int, measured: _Measured) -> RoundCost:
    number = max(1, measured.players)
    parts = {name: round(measured.watch.seconds.get(name, 0.0) / number * 1000, 4) for name in PARTS}
    own = sum(measured.watch.seconds.values()) / number * 1000
    postgres = measured.postgres / number * 1000 or None
    whole = None if postgres is None or not measured.players else own + postgres
    return RoundCost(
        action=action,
        size=size,
        row_bytes=row_bytes,
        players=measured.players,
        parts_ms=parts,
        own_ms=round(own, 3),
        postgres_ms=None if postgres is None else round(postgres, 3),
        all_ms=None if whole is None else round(whole, 3),
        of_limit=None if whole is None else round(whole / MOST_MS, 3),
        elapsed_ms=round(measured.elapsed / number * 1000, 3),
    )


def judge(costs: Sequence[RoundCost]) -> TargetsJudgement:
    """Judge players as they are made, each kind of action."""
    return TargetsJudgement.of(
        [
            Threshold(f"{cost.action}, ms of a dirty player", cost.all_ms, most=MOST_MS)
            for cost in costs
            if cost.size == JUDGED_SIZE
        ]
    )


def show(report: RoundReport, out: Output) -> None:
    """Print the report as two tables, and its verdict."""
    out.table(
        f"ms of processor time for a dirty player, on {report.server}",
        ("action", "player", "players", "own", "postgres", "all", "of limit", "elapsed"),
        [
            (
                cost.action,
                f"{cost.size}, {cost.row_bytes / 1000:.0f} KB",
                cost.players,
                cost.own_ms,
                _or_none(cost.postgres_ms),
                _or_none(cost.all_ms),
                _or_none(cost.of_limit),
                cost.elapsed_ms,
            )
            for cost in report.costs
        ],
    )
    out.table(
        "its own part, by what it is for",
        ("action", "player", *PARTS),
        [(cost.action, cost.size, *(cost.parts_ms[name] for name in PARTS)) for cost in report.costs],
    )
    for line in (*report.missed, *report.unmeasured):
        out.say(line)
    out.say(f"verdict: {report.verdict}")


def _or_none(figure: float | None) -> float | str:
    return "-" if figure is None else figure
