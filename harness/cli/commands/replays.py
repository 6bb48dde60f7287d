"""Runs `invoke transfer.replay`: loads again what the quarantine holds, also while players play."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from db import ops
from db.console.progress import Progress
from db.counts import few
from db.environments import Environment
from db.errors import Refusal
from db.quarantine import entries
from db.quarantine.replaying import replay, require_replayable
from db.quarantine.results import Decided, Replay, Replayed
from db.schema import migrate
from harness.cli.commands.quarantine import WIDTH, fitted, shown

if TYPE_CHECKING:
    from db.console.output import Output

MOST_BYTES = 64 * 1024 * 1024
_NAME_A_FILE = "Name the file that holds the decided value: --value FILE."
NAMED = 5


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of a replay. player: "" for all; number, value: of the list, and the file with its replacement."""

    player: str = ""
    number: int | None = None
    value: str = ""
    dry_run: bool = False


def run(env: Environment, options: ReplayOptions, progress: Progress, confirmed: Callable[[], None]) -> Replayed:
    """Check, ask, and load again. Raises Refusal if a decided value can't be used; nothing is changed then."""
    decided = _decided(options)
    with ops.connect(env.target_direct) as conn:
        ops.require_marker(conn, env.name)
        migrate.require_current(conn)
        entries.require_current(conn, env.name)
        require_replayable(conn)
    if not options.dry_run:
        confirmed()
    with ops.lock(env.target_direct, run=f"replay-{secrets.token_hex(4)}", why="transfer.replay") as held:
        return replay(held, progress, player=options.player or None, decided=decided, dry_run=options.dry_run)


def _decided(options: ReplayOptions) -> Decided | None:
    if options.number is None and not options.value:
        return None
    if options.number is None or not options.value:
        raise Refusal(
            "--number N with --value FILE",
            "one of them alone",
            do="N is a number that `invoke transfer.quarantine --env NAME` shows; FILE holds what takes its place.",
        )
    if options.player:
        raise Refusal("--number N, which names the player", "--player besides", do="Leave --player out.")
    path = Path(options.value)
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise Refusal("a file with the value", str(error.strerror), where=options.value, do=_NAME_A_FILE) from None
    if data is None:
        raise Refusal(f"a file of at most {MOST_BYTES:,} bytes", "a larger one", where=options.value, do=_NAME_A_FILE)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Refusal(
            "a value in UTF-8",
            f"bytes that are not, at offset {error.start}",
            where=options.value,
            do="Save the file as UTF-8.",
        ) from None
    # An editor ends a file's last line; the value does not have it.
    return Decided(options.number, text.removesuffix("\n").removesuffix("\r"))


def show(done: Replayed, environment: str, out: Output) -> None:
    """Print what became of each value, in words."""
    would = "would be " if done.dry_run else ""
    says = {
        "loaded": f"{would}loaded",
        "released": f"{would}let play",
        "held": "still held",
        "aside": "still aside",
        "overwritten": "replaced by play",
    }
    for outcome, words in says.items():
        for one in done.values:
            if one.outcome == outcome:
                for line in _lines(one, words):
                    out.say(line)
    loaded = len(done.of("loaded", "released"))
    text = f"{loaded:,} of {len(done.values):,} values {would}loaded"
    if done.held:
        text += f"; still held: {few([shown(player) for player in done.held], NAMED)}"
    elif not done.values:
        text = "nothing is kept in the quarantine that was asked for"
    else:
        text += "; nobody of those asked for is held"
    out.say(text)
    if done.held:
        out.say(f"Look at them: invoke transfer.quarantine --env {environment}")


def _lines(one: Replay, words: str) -> list[str]:
    place = f"{one.table}.{one.column}" + (f" {one.path}" if one.path != "$" else "")
    lines = [f"{words}: {one.n}  {shown(one.player or '(no player)')}", f"     {shown(place)}"]
    if one.why:
        lines.append(f"     {shown(one.why)}")
    if one.adjustment:
        amounts = (*one.adjustment.currencies.items(), *one.adjustment.items.items())
        lines.append(f"     added to the journals: {', '.join(f'{shown(name)} {n:+,}' for name, n in amounts)}")
    return [fitted(line, WIDTH) for line in lines]
