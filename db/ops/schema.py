"""The SQL that makes the schema `ops`: its tables, and the functions of the triggers that defend the game's tables.

Every statement may run again on a database that has an older version of the schema.
"""

from __future__ import annotations

from db.ops.noting import NOTING
from game.errors import FENCE_MESSAGE, FENCE_PASS_SETTING, FENCE_SQLSTATE

APPEND_ONLY_SQLSTATE = "SF002"
FENCE_LOCK = 1_935_893_604
"""The first half of an advisory lock's key: every write of the game's tables shares it, a fence takes it alone."""


TABLES = """
create schema if not exists ops;
create table if not exists ops.environment (
    only_one boolean primary key default true check (only_one),
    name text not null,
    prepared_at timestamptz not null default now()
);
alter table ops.environment add column if not exists identity uuid not null default gen_random_uuid();
alter table ops.environment add column if not exists checkout jsonb;
create table if not exists ops.phase (
    only_one boolean primary key default true check (only_one),
    phase text not null check (phase in ('empty', 'loading', 'live', 'aborted', 'returned')),
    run text,
    since timestamptz not null default now()
);
create table if not exists ops.lock_holder (
    only_one boolean primary key default true check (only_one),
    run text not null,
    why text not null,
    host text not null,
    pid integer not null,
    backend_pid integer not null,
    since timestamptz not null default now()
);
create table if not exists ops.fence (
    schema text primary key,
    state text not null check (state in ('open', 'fenced', 'moved')),
    since timestamptz not null default now()
);
alter table ops.fence add column if not exists draw_epoch text;
alter table ops.fence add column if not exists run text;
alter table ops.fence add column if not exists peer text;
alter table ops.fence add column if not exists log text;
create table if not exists ops.fence_passes (
    schema text not null,
    pass_sha256 text not null,
    primary key (schema, pass_sha256)
);
create table if not exists ops.proven (
    only_one boolean primary key default true check (only_one),
    run text not null,
    at timestamptz not null default now()
);
create table if not exists ops.revisions (
    schema text not null,
    revision text not null,
    sha256 text not null,
    applied_at timestamptz not null default now(),
    primary key (schema, revision)
);
create table if not exists ops.change_log (
    n bigint generated always as identity primary key,
    log text not null,
    at timestamptz not null default now(),
    source text not null,
    keys text[],
    requests text[],
    positions bigint[]
);
create table if not exists ops.change_capture (
    schema text primary key,
    log text not null,
    run text not null,
    peer text not null,
    relations text not null,
    most bigint not null,
    rounds bigint not null default 0,
    applied bigint not null default 0,
    at_lift boolean not null default false,
    ended text,
    since timestamptz not null default now()
);
"""

FUNCTIONS = f"""
create or replace function ops.has_pass(of_schema text) returns boolean
language plpgsql stable as $body$
begin
    -- Not in SQL: that would be planned anew at every call. Its callers have pinned the search path.
    return exists (
        select from ops.fence_passes p
        where p.schema = of_schema
            and p.pass_sha256 = encode(sha256(convert_to(current_setting('{FENCE_PASS_SETTING}', true), 'UTF8')), 'hex')
    );
end
$body$;
create or replace function ops.refuse_fenced() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
    found_state text;
begin
    -- Held until the writer's transaction ends, so a fence that has taken it alone knows of no write in flight.
    perform pg_advisory_xact_lock_shared({FENCE_LOCK}, hashtext(tg_table_schema));
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
        errcode = '{FENCE_SQLSTATE}',
        message = '{FENCE_MESSAGE}: ' || coalesce(found_state, 'fenced'),
        detail = format('%s on %I.%I without a valid pass', tg_op, tg_table_schema, tg_table_name);
end
$body$;
create or replace function ops.refuse_rewrite() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
    if ops.has_pass(tg_table_schema) then
        return null;
    end if;
    raise exception using
        errcode = '{APPEND_ONLY_SQLSTATE}',
        message = format('%I.%I is a journal: rows are added, never changed', tg_table_schema, tg_table_name),
        detail = format('%s without a valid pass', tg_op);
end
$body$;
revoke all on function ops.has_pass(text), ops.refuse_fenced(), ops.refuse_rewrite() from public;
{NOTING}
"""
