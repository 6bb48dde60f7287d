"""Checks of the game's own database: schema, fence, held players, and the standing checks of whom has changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from db.errors import Refusal
from db.monitor import samples
from db.monitor.check import Check, Limit, Measured, NotApplicable, NotJudged
from db.monitor.look import Look, greatest
from db.ops import Phase, fence, following
from db.schema import drift, migrate

FIRST_WINDOW = timedelta(minutes=10)
"""The first look judges players with a receipt of the last ten minutes."""

PLAYERS_A_LOOK = 2_000
"""The number of changed players that a look reads, the newest first. A look must end before the next one begins."""

OVERLAP_SECONDS = 60.0
"""A receipt bears the service's clock, and may be committed after a look that began later."""

OVERLAP_PAGES = 2_048
"""16 MB. Receipts are only ever added, at the table's end or in a page near it, so older pages are not read again."""

RECEIPT_PAGES = "select pg_relation_size('action_receipts') / current_setting('block_size')::int"

WAIT_SECONDS = 0.2
"""For a table that another session alters, to compare the schema; the look's own statements wait as long."""

CHANGED = """
with changed as (
    select user_id from (
        select user_id from action_receipts
        where ctid >= %s::tid and at >= %s group by user_id order by max(at) desc limit %s
    ) newest
    union
    select unnest(%s::text[])
),
"""
BALANCES = (
    CHANGED
    + """sums as (
    select user_id, currency, sum(amount) as amount from currency_ledger
    where user_id in (select user_id from changed) group by user_id, currency
),
wrong as (
    select u.id, c.currency, c.owned, c.opening + coalesce(s.amount, 0) as booked
    from users u join player_openings o on o.user_id = u.id
        cross join lateral (values ('gold', u.gold, o.gold), ('diamonds', u.diamonds, o.diamonds))
            as c(currency, owned, opening)
        left join sums s on s.user_id = u.id and s.currency = c.currency
    where u.id in (select user_id from changed) and c.owned <> c.opening + coalesce(s.amount, 0)
)
select count(*) over ()::float8, format('%%s owns %%s %%s, booked %%s', id, owned, currency, booked), id
from wrong order by 2
"""
)
STOCK = (
    CHANGED
    + """history as (
    select user_id, item_id, sum(delta) as delta from inventory_history
    where user_id in (select user_id from changed) group by user_id, item_id
),
opening as (
    select o.user_id, e.key as item_id, e.value::bigint as quantity
    from player_openings o, jsonb_each_text(o.stock::jsonb) e
    where o.user_id in (select user_id from changed)
),
booked as (
    select user_id, item_id, coalesce(o.quantity, 0) + coalesce(h.delta, 0) as quantity
    from opening o full join history h using (user_id, item_id)
),
owned as (
    select user_id, id as item_id, quantity from user_inventory
    where user_id in (select user_id from changed)
),
wrong as (
    select user_id, item_id, coalesce(o.quantity, 0) as owned, coalesce(b.quantity, 0) as booked
    from owned o full join booked b using (user_id, item_id)
    where coalesce(o.quantity, 0) <> coalesce(b.quantity, 0)
)
select count(*) over ()::float8, format('%%s owns %%s of %%s, booked %%s', user_id, owned, item_id, booked), user_id
from wrong order by 2
"""
)
OF_EVERYONE: tuple[object, ...] = ("(0,0)", 0, 2**31 - 1, [])
"""The parameters of BALANCES and STOCK for all players with a receipt, whenever they played."""

CONSTRAINTS_OFF = """
select count(*) over ()::float8, format('%%s on %%s', conname, conrelid::regclass)
from pg_constraint where connamespace = to_regnamespace(quote_ident(%s)) and contype = 'f'
    and exists (select from pg_trigger t where t.tgconstraint = pg_constraint.oid and t.tgenabled in ('D', 'R'))
order by 2
"""
HELD = "select count(*)::float8 from users where held"


def schema(look: Look) -> Measured:
    """Measure the differences between the schema and this program's tables."""
    look.require_usage(look.env.target_direct.schema)
    current, head = migrate.current(look.conn), migrate.head()
    if current != head:
        return Measured(1.0, f"at {current or 'no revision'}; this program's head is {head}")
    try:
        differences = _differences(look)
    except Refusal as error:
        raise NotJudged(f"it compares with a scratch schema: {error.found}") from error
    return Measured(float(len(differences)), "; ".join(differences[:3]) or f"at {current}, as the migrations make it")


def open_to_players(look: Look) -> Measured:
    """Measure the reasons why players can't write: a fence that stands while the phase says that they play here."""
    if look.phase is not Phase.LIVE:
        raise NotApplicable(f"the phase is {look.phase or 'unknown'}: players do not play on Postgres")
    state = fence.recorded_state(look.conn)
    return Measured(float(state != "open"), f"phase live, fence {state}")


def held(look: Look) -> Measured:
    """Measure the players who are refused until someone decides what they own."""
    look.require_live()
    many = look.value(HELD)
    return Measured(many, f"{many:,.0f}; invoke transfer.quarantine lists them")


def follow_lag(look: Look) -> Measured:
    """Measure the age of the last round of `invoke follow`: every older change is in the legacy file."""
    if look.phase is not Phase.LIVE:
        raise NotApplicable(f"the phase is {look.phase or 'unknown'}: no legacy file follows")
    row = following.read(look.conn)
    if row is None:
        raise NotApplicable("nothing ever followed: invoke follow")
    if not row.wished:
        raise NotApplicable(f"{row.ordered_by} had it stop at {row.ordered_at}")
    works = "" if following.at_work(look.conn) else "no process is at work; it said last: "
    state = f"{works}{row.state.explained(row.reason)}; {row.process}"
    if row.age is None:
        raise NotJudged(f"no round was applied yet: {state}")
    return Measured(row.age, state)


def _differences(look: Look) -> list[str]:
    """Compare as the owner, who sees all; the role of the watch may not make a scratch schema."""
    direct = look.env.target_direct
    made = drift.made(direct, look.conn.info.server_version)
    return drift.against(direct, made, wait_seconds=WAIT_SECONDS)


def _standing(name: str, query: str) -> Callable[[Look], Measured]:
    """Return the measure of a standing check over the players with a receipt since it was measured last.

    A player who was wrong then is judged again, else the breach would end by itself when the player stops.
    """
    kept = f"{samples.STANDING}{name}: "
    wrong = f"{kept}wrong "

    def measure(look: Look) -> Measured:
        look.require_live()
        newest = look.sample_at(0.0)
        before = {} if newest is None else newest.counters
        pages = look.value(RECEIPT_PAGES)
        now, first = look.at.timestamp(), (look.at - FIRST_WINDOW).timestamp()
        since = before[f"{kept}until"] - OVERLAP_SECONDS if f"{kept}until" in before else first
        page = max(0, int(before.get(f"{kept}pages", pages)) - OVERLAP_PAGES)
        again = [key.removeprefix(wrong) for key in before if key.startswith(wrong)]
        rows = look.rows(query, [f"({page},0)", int(since * 1000), PLAYERS_A_LOOK, again])
        look.sample.counters.update({f"{wrong}{row[2]}": 1.0 for row in rows})
        look.sample.counters.update({f"{kept}until": now, f"{kept}pages": float(pages)})
        return greatest(rows, none="every one of them", window_seconds=now - since)

    return measure


CHECKS = (
    Check(
        name="schema",
        limit=Limit(0, "differences", "docs/migrations.md: the schema changes by revisions alone"),
        measure=schema,
        defect="a column that was added by hand",
        not_judged="the role may not read the schema's revision, the owner may not make a scratch schema",
        do="invoke status --env {env} names every difference; take each back, or make a revision of it.",
    ),
    Check(
        name="open to players",
        limit=Limit(0, "fences", "docs/cutover.md: in phase live the fence is open, or somebody has set it on purpose"),
        measure=open_to_players,
        defect="a fence that was left up",
        not_judged="the role may not read ops.phase, the schema is not migrated",
        do="invoke status --env {env} says who has set it; to lift it: invoke fence --env {env} --off --reason WHY",
    ),
    Check(
        name="players held",
        limit=Limit(0, "players", "docs/cutover.md, A held player: each can't play until someone decides"),
        measure=held,
        defect="a player whose bag could not be read",
        not_judged="the role may not read ops.phase or the game's tables",
        do="invoke transfer.quarantine --env {env}",
    ),
    Check(
        name="lag of the legacy file",
        limit=Limit(10, "s", "docs/follow.md: rounds are a second apart, so that a rollback's window stays short"),
        measure=follow_lag,
        defect="a process that follows and was killed",
        not_judged="no round was applied yet, the role may not read ops.follow",
        do="invoke status --env {env} says why; where no process is at work: invoke follow --env {env}",
    ),
    Check(
        name="balances",
        limit=Limit(0, "balances", "the standing check: gold and diamonds = opening + ledger"),
        measure=_standing("balances", BALANCES),
        defect="UPDATE users SET gold = gold + 1 for a player who has just played",
        not_judged="the role may not read the game's tables",
        do="Read the player's journal before you correct anything: SELECT * FROM currency_ledger WHERE user_id = ID;",
    ),
    Check(
        name="stock",
        limit=Limit(0, "stocks", "the standing check: stock = opening + history"),
        measure=_standing("stock", STOCK),
        defect="an item of a player who has just played, deleted by hand",
        not_judged="the role may not read the game's tables",
        do="Read the player's journal before you correct anything: SELECT * FROM inventory_history WHERE user_id = ID;",
    ),
    Check(
        name="foreign keys switched off",
        limit=Limit(0, "keys", "the server does not check a foreign key whose triggers are disabled"),
        measure=lambda look: look.worst(CONSTRAINTS_OFF, [look.env.target_direct.schema]),
        defect="ALTER TABLE ... DISABLE TRIGGER ALL",
        do="ALTER TABLE NAME ENABLE TRIGGER ALL; as a superuser, then look at the triggers of the fence.",
    ),
)
