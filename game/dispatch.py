"""Dispatch: one command, one transaction, and the only loop that tries again.

An attempt begins by looking for its own receipt, so every transient failure is retried alike, a lost COMMIT included.
An attempt costs what the store's load, save and commit cost; a retry waits 50 ms, then twice as long each time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from game import chain, idempotency
from game.errors import Fenced, Refused, StoreUnavailable, TryAgain
from game.rows import Record, Rows, text, whole_number
from game.rules.actions import Outcome, perform
from game.rules.chance import Chance
from game.rules.commands import Command
from game.rules.player import Player
from game.unit_of_work import LoadedPlayer, Store

ATTEMPTS = 4

T = TypeVar("T")

Notice = Callable[[TryAgain, int], None]
"""Told of every attempt that failed for now, with its number from 1."""


@dataclass(frozen=True, slots=True)
class Request:
    """A player's command under the id that the client gave it, the same each time that it asks again."""

    player: str
    request_id: str
    command: Command


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome; `replayed` where it was found in a receipt, kept by an earlier request or attempt."""

    outcome: Outcome
    replayed: bool


def dispatch(
    store: Store,
    request: Request,
    *,
    clock: Callable[[], int],
    chance: Callable[[str], Chance],
    sleep: Callable[[float], None] = time.sleep,
    fence_pass: str | None = None,
    notice: Notice | None = None,
) -> Answer:
    """Carry out the request, once however often it is asked.

    clock: epoch milliseconds, read once a request. chance: a fresh Chance for the request id, asked for each attempt.
    Raises Refused (nothing changed, no receipt), Fenced, Moved, StoreUnavailable (ask again: it may have been kept).
    """
    now_ms = clock()
    return retry(
        lambda: _attempt(store, request, now_ms, chance(request.request_id), fence_pass), sleep=sleep, notice=notice
    )


def retry(
    act: Callable[[], T],
    *,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
    notice: Notice | None = None,
) -> T:
    """Try again while attempts fail for now, for reads too: the only such loop. Raises StoreUnavailable at its end."""
    retrying = Retrying(
        retry=retry_if_exception_type(TryAgain),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(multiplier=0.05, max=1.0) + wait_random(0, 0.025),
        sleep=sleep,
        after=_telling(notice),
        reraise=True,
    )
    try:
        return retrying(act)
    except TryAgain as error:
        raise StoreUnavailable(f"{attempts} attempts failed, the last with {error}") from error


def _attempt(store: Store, request: Request, now_ms: int, chance: Chance, fence_pass: str | None) -> Answer:
    with store.begin(fence_pass) as unit:
        loaded = unit.load(request.player, request.request_id, request.command.tables)
        if loaded is None:
            raise Refused("no_such_player", request.player)
        receipts = loaded.rows.get("action_receipts", {})
        for form in idempotency.forms(request.request_id):
            if receipt := receipts.get((request.player, form)):
                return _replayed(receipt, request)
        _check_open(loaded, request, fence_pass)
        chance.enter(loaded.draw_epoch)
        rows = loaded.rows.copy()
        player = Player(rows, request.request_id, now_ms, chance, request.command.body())
        outcome = perform(player, request.command)
        kept = _journal(loaded, rows, request, outcome, now_ms)
        unit.save(loaded.rows, rows)
        unit.commit()
    return Answer(json.loads(kept), replayed=False)


def _replayed(receipt: Record, request: Request) -> Answer:
    """Return the receipt's answer, even while the store is fenced. Raises Refused for another request's receipt."""
    if receipt["command"] != request.command.body():
        raise Refused("request_reused", request.request_id)
    return Answer(json.loads(text(receipt, "outcome")), replayed=True)


def _check_open(loaded: LoadedPlayer, request: Request, fence_pass: str | None) -> None:
    if loaded.fence != "open" and fence_pass is None:
        raise Fenced(loaded.fence)
    if loaded.rows["users"][(request.player,)]["held"]:
        raise Refused("player_held", request.player)


def _journal(loaded: LoadedPlayer, after: Rows, request: Request, outcome: Outcome, now_ms: int) -> str:
    """Add the receipt, and with a player's first one what the player owned before it; the outcome's text."""
    kept = json.dumps(outcome, ensure_ascii=False)
    openings = after.table("player_openings")
    if not openings:
        openings[(request.player,)] = _opening_record(loaded.rows)
    receipt: Record = {
        "user_id": request.player,
        "request_id": request.request_id,
        "command": request.command.body(),
        "outcome": kept,
        "at": now_ms,
        "seq": None,
        "chain": None,
    }
    if loaded.head is not None:
        ledger, history = (after.table(name).values() for name in ("currency_ledger", "inventory_history"))
        head = chain.following(loaded.head, openings[(request.player,)], receipt, ledger, history)
        receipt |= {"seq": head.seq, "chain": head.chain}
    after.table("action_receipts")[(request.player, request.request_id)] = receipt
    return kept


def _opening_record(before: Rows) -> Record:
    """Return the row of player_openings: gold, diamonds, and the number of each item, before the first command."""
    (user,) = before["users"].values()
    stock = {text(item, "id"): whole_number(item, "quantity") for item in before.get("user_inventory", {}).values()}
    return {
        "user_id": user["id"],
        "gold": user["gold"],
        "diamonds": user["diamonds"],
        "stock": json.dumps(stock, ensure_ascii=False, sort_keys=True),
    }


def _telling(notice: Notice | None) -> Callable[[RetryCallState], None]:
    """Return a callback for tenacity that tells `notice` of each TryAgain, with the number of the attempt."""

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if notice is not None and isinstance(error, TryAgain):
            notice(error, state.attempt_number)

    return tell
