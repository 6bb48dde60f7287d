"""Keep the fence's triggers on: they ask the row of the fence whether the game is open."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ASK_THE_ROW = """
create or replace function ops.refuse_fenced() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
    found_state text;
begin
    -- Held until the writer's transaction ends, so a fence that has taken it alone knows of no write in flight.
    perform pg_advisory_xact_lock_shared(1935893604, hashtext(tg_table_schema));
    -- Read after the lock. A transaction with a snapshot of its own would read what was true then: it fails instead.
    if current_setting('transaction_isolation') = 'read committed' then
        select f.state into found_state from ops.fence f where f.schema = tg_table_schema;
    else
        select f.state into found_state from ops.fence f where f.schema = tg_table_schema for share;
    end if;
    if found_state = 'open' or ops.has_pass(tg_table_schema) then
        return null;
    end if;
    raise exception using
        errcode = 'SF001',
        message = 'sudamr_fence: ' || coalesce(found_state, 'fenced'),
        detail = format('%s on %I.%I without a valid pass', tg_op, tg_table_schema, tg_table_name);
end
$body$
"""

SWITCH_ON = """
do $switch$
declare
    asleep text;
begin
    for asleep in
        select t.tgrelid::regclass::text
        from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where t.tgname = 'sudamr_fence' and t.tgenabled <> 'A'
            and c.relnamespace = to_regnamespace(quote_ident(current_schema()))
        order by 1
    loop
        execute 'alter table ' || asleep || ' enable always trigger sudamr_fence';
    end loop;
end
$switch$
"""


def upgrade() -> None:
    """The function first: with the old one a trigger that is on refuses every write."""
    op.execute(ASK_THE_ROW)
    op.execute(SWITCH_ON)


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
