"""The laws: each receipt is what the rules' tables grant after those before it, and a player owns what follows.

Gold follows from the ledger; by these laws the ledger, scores, XP, action points, stars, stages, missions and each
flag of something granted once follow from the receipts. The actions have no part in it, and an outcome is compared,
never believed, but for what dice decide. Forge XP has bounds alone: no outcome tells how much was drawn.

A load of the quarantine is entered by the rows that its receipt tells: what was read again, no rule grants.

An opening of the journals holds gold, diamonds and stock, and no more: a column more in it would change the digest of
every chain. So the opening is the player's rows as they were: a scenario's `given`, or what a transfer read.
A receipt costs some 30 µs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from game import tables
from game.rows import Record, Rows, text, whole_number
from game.rules import catalog
from harness.laws import items, loads, rewards, solo
from harness.laws.account import Account, Answer, as_json, forge_total
from harness.laws.breach import Breach, NotGranted, need

Entry = Callable[[Account, Answer, Answer], Answer]
"""Enters a command by its fields; of its outcome only what dice decide is read. Returns what the outcome has to be."""

ENTRIES: dict[str, Entry] = {
    "claim_mail": rewards.claim_mail,
    "claim_all_mail": rewards.claim_all_mail,
    "delete_mail": rewards.delete_mail,
    "claim_quest": rewards.claim_quest,
    "claim_milestone": rewards.claim_milestone,
    "equip": items.equip,
    "unequip": items.unequip,
    "save_preset": items.save_preset,
    "apply_preset": items.apply_preset,
    "enhance": items.enhance,
    "combine": items.combine,
    "disassemble": items.disassemble,
    "convert": items.convert,
    "start_tournament": rewards.start_tournament,
    "finish_tournament": rewards.finish_tournament,
    "claim_tournament_reward": rewards.claim_tournament_reward,
    "clear_stage": solo.clear_stage,
    "start_mission": solo.start_mission,
    "collect_mission": solo.collect_mission,
    "collect_all_missions": solo.collect_all_missions,
    "level_up_mission": solo.level_up_mission,
    "open_bundle": items.open_bundle,
    "sell_item": items.sell_item,
    "expand_bag": items.expand_bag,
}

DRAWN = {"users": ("forge_level", "forge_xp"), "user_inventory": ("options", "worn_flag")}
"""Columns that no receipt tells: of these, XP and the options' main value have laws of their own."""

COLUMNS = {
    table.name: tuple(
        column.name
        for column in tables.game_columns(table)
        if column.name not in (*tables.KEYS[table.name], "position", *DRAWN.get(table.name, ()))
    )
    for table in tables.PLAYER_STATE
}
TENTHS = {4: 13, 7: 15, 10: 20}
"""The tenths of the main option's base value that a star adds; ten for every other star."""


def breaches(opening: Rows, now: Rows) -> Iterator[Breach]:
    """Yield each value that these players own and that does not follow from the opening and the receipts since.

    A receipt that the rules do not grant ends the check of its player.
    """
    for player, *_ in now.get("users", {}):
        if (player,) not in opening.get("users", {}):
            yield Breach(str(player), "opening", "the player's rows before the receipts", "none")
        else:
            yield from _of_player(str(player), opening, now)


def _of_player(player: str, opening: Rows, now: Rows) -> Iterator[Breach]:
    """Yield where the player's rows are not what his receipts since the opening add up to by the rules' tables."""
    account = Account.of(player, opening)
    ledger, history = (_lines(now, journal, player) for journal in ("currency_ledger", "inventory_history"))
    for receipt in _receipts_since(player, opening, now):
        request = text(receipt, "request_id")
        try:
            _enter(account, receipt, ledger.get(request, ()), history.get(request, ()))
        except NotGranted as wrong:
            yield Breach(player, f"{_action(receipt)} {request} by the rules' tables", wrong.expected, wrong.found)
            return
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}, {error}"
            yield Breach(player, f"{_action(receipt)} {request} by the rules' tables", "a command they grant", what)
            return
    yield from _state(account, now)
    yield from _forge_xp(account, now)
    yield from _options(account, now)


def _receipts_since(player: str, opening: Rows, now: Rows) -> list[Record]:
    before = opening.get("action_receipts", {})
    since = [r for key, r in now.get("action_receipts", {}).items() if key[0] == player and key not in before]
    return sorted(since, key=lambda receipt: whole_number(receipt, "seq"))


def _enter(account: Account, receipt: Record, ledger: Sequence[Record], history: Sequence[Record]) -> None:
    """Enter one receipt into the account. Raises NotGranted if the rules grant no such command or outcome."""
    if loads.is_load(receipt):
        loads.enter(account, receipt, ledger, history)
        return
    action, fields = json.loads(text(receipt, "command"))
    outcome = json.loads(text(receipt, "outcome"))
    account.at_ms = whole_number(receipt, "at")
    expected = ENTRIES[action](account, fields, outcome)
    account.settle(ledger, history)
    if action == "combine":
        need(account.item(outcome["item"])["name"] == outcome["name"], "the item that was made", outcome["item"])
    for name in expected.keys() | outcome.keys():
        answered, entered = outcome.get(name), expected.get(name)
        need(answered == entered, f"{name} {_shown(entered)}", _shown(answered))


def _action(receipt: Record) -> str:
    command = as_json(receipt["command"])
    return str(command[0]) if isinstance(command, list) and command else "command"


def _lines(now: Rows, journal: str, player: str) -> dict[str, list[Record]]:
    """Return a player's lines of a journal by request, each request's in their order."""
    lines: dict[str, list[Record]] = {}
    for key, line in sorted(now.get(journal, {}).items(), key=lambda entry: whole_number(entry[1], "n")):
        if key[0] == player:
            lines.setdefault(text(line, "request_id"), []).append(line)
    return lines


def _state(account: Account, now: Rows) -> Iterator[Breach]:
    """Compare every column that receipts tell; a table of which both know nothing is none that was read."""
    for table, columns in COLUMNS.items():
        left = account.rows.get(table, {})
        right = {key: record for key, record in now.get(table, {}).items() if key[0] == account.player}
        for key in dict.fromkeys((*left, *right)):
            at = ".".join([table, *map(str, key[1:])])
            expected, found = left.get(key), right.get(key)
            if expected is None or found is None:
                yield Breach(account.player, at, "no such row" if expected is None else "a row", _row(found))
                continue
            for column in columns:
                entered, stored = as_json(expected.get(column)), as_json(found.get(column))
                if entered != stored:
                    law = f"{at}.{column} = opening + receipts"
                    yield Breach(account.player, law, _shown(entered), _shown(stored))


def _forge_xp(account: Account, now: Rows) -> Iterator[Breach]:
    """Compare the forge's level and XP: as before where none was gained, else within what dice can have given."""
    before, after = (rows["users"][(account.player,)] for rows in (account.drawn, now))
    level, xp = whole_number(after, "forge_level"), whole_number(after, "forge_xp")
    law = "forge XP = opening + receipts"
    if not account.gained_forge_xp:
        was, is_now = (
            f"level {whole_number(u, 'forge_level')} and {whole_number(u, 'forge_xp')}" for u in (before, after)
        )
        if was != is_now:
            yield Breach(account.player, law, f"{was}, for none was gained", is_now)
        return
    least, most = account.forge_xp
    total = forge_total(after)
    if not least <= total <= most:
        yield Breach(account.player, law, f"{least} to {most} in all", str(total))
    if level < catalog.MAX_FORGE_LEVEL and xp >= catalog.xp_to_leave(level):
        expected = f"less than {catalog.xp_to_leave(level)} XP left over at level {level}"
        yield Breach(account.player, "forge level", expected, str(xp))


def _options(account: Account, now: Rows) -> Iterator[Breach]:
    """Compare the main value of what was enhanced: what it was, and the share of its base for each star since."""
    for item_id, gained in account.improved.items():
        key = (account.player, item_id)
        item, before = now.get("user_inventory", {}).get(key), account.drawn.get("user_inventory", {}).get(key)
        if item is None:
            continue
        stars = whole_number(item, "stars")
        was = _main(before["options"]) if before else _fresh_main(item)
        main = _main(item["options"])
        if was is None or main is None:
            continue
        value, base = was
        follows = value + sum(_tenths(base * TENTHS.get(star, 10)) for star in range(stars - gained + 1, stars + 1))
        if main[0] != follows:
            law = f"main value of {item_id} = opening + stars"
            yield Breach(account.player, law, str(follows), str(main[0]))


def _main(options: object) -> tuple[int, int] | None:
    """Return the main option's value and base; None where they are no whole numbers."""
    match as_json(options):
        case {"main": {"value": int(value), "baseValue": int(base)}}:
            return value, base
        case _:
            return None


def _fresh_main(item: Record) -> tuple[int, int]:
    base, _percentage = catalog.main_base(text(item, "slot"), catalog.GRADES[text(item, "grade")])
    return base, base


def _tenths(number: int) -> int:
    """Return a tenth of the number, rounded; halves go up."""
    return (number + 5) // 10


def _row(record: Record | None) -> str:
    return "none" if record is None else _shown(record)


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
