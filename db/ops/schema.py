"""The SQL that makes the schema `ops`: its tables, and the functions of the triggers that defend the game's tables.

Every statement may run again on a database that has an older version of the schema.
"""

from __future__ import annotations

from game.errors import FENCE_MESSAGE, FENCE_PASS_SETTING, FENCE_SQLSTATE

APPEND_ONLY_SQLSTATE = "SF002"
TRUNCATE_SQLSTATE = "SF003"
NOTED_SETTING = "sudamr.noted"
"""Within a transaction, the player and the request that its newest line of the change log names."""

ASK_EVERY = 1024
"""The lines of the change log after which a command asks whether the log is full."""

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

NOTE_CHANGES_BODY = f"""
declare
    memo text := current_setting('{NOTED_SETTING}', true);
    first text;
    last text;
    players text[];
    requests text[];
    mark text;
    line bigint;
begin
    case tg_argv[0]
    when 'user' then
        if tg_op = 'UPDATE' then
            select min(r.id collate "C"), max(r.id collate "C") into first, last
            from (select c.id from changed c union all select w.id from was w) r;
        else
            select min(c.id collate "C"), max(c.id collate "C") into first, last from changed c;
        end if;
    when 'player' then
        if tg_op = 'UPDATE' then
            select min(r.user_id collate "C"), max(r.user_id collate "C") into first, last
            from (select c.user_id from changed c union all select w.user_id from was w) r;
        else
            select min(c.user_id collate "C"), max(c.user_id collate "C") into first, last from changed c;
        end if;
    when 'request' then
        -- Nearly always of one request: then nothing is sorted.
        if tg_op = 'INSERT' then
            select min(c.user_id collate "C"), max(c.user_id collate "C"), array[min(c.request_id collate "C")],
                max(c.request_id collate "C")
            into first, last, requests, mark from changed c;
        end if;
        if tg_op <> 'INSERT' or first <> last or requests[1] <> mark then
            first := null;
            requests := null;
            if tg_op = 'UPDATE' then
                select array_agg(r.user_id), array_agg(r.request_id) into players, requests
                from (select c.user_id, c.request_id from changed c union select w.user_id, w.request_id from was w) r;
            else
                select array_agg(r.user_id), array_agg(r.request_id) into players, requests
                from (select distinct c.user_id, c.request_id from changed c) r;
            end if;
        end if;
    when 'whole' then
        if exists (select from changed) then
            insert into ops.change_log (log, source)
            select f.log, tg_argv[1] from ops.fence f where f.schema = tg_table_schema and f.log is not null
            returning n into line;
        end if;
    when 'kept' then
        if tg_op = 'UPDATE' then
            insert into ops.change_log (log, source, keys, positions)
            select f.log, r.source, array_agg(distinct r.key) filter (where r.source = 'users' and r.key is not null),
                array_agg(distinct r.position) filter (where r.source = 'users')
            from ops.fence f, (
                select c.source, c.key, c.position from changed c
                union all select w.source, w.key, w.position from was w
            ) r
            where f.schema = tg_table_schema and f.log is not null group by f.log, r.source;
        else
            insert into ops.change_log (log, source, keys, positions)
            select f.log, r.source, array_agg(distinct r.key) filter (where r.source = 'users' and r.key is not null),
                array_agg(distinct r.position) filter (where r.source = 'users')
            from ops.fence f, changed r
            where f.schema = tg_table_schema and f.log is not null group by f.log, r.source;
        end if;
    when 'finding' then
        if tg_op = 'UPDATE' then
            insert into ops.change_log (log, source, keys)
            select f.log, 'users', array_agg(distinct r.key)
            from ops.fence f, (
                select c.key from changed c where c.source_table = 'users' and c.key is not null
                union all select w.key from was w where w.source_table = 'users' and w.key is not null
            ) r
            where f.schema = tg_table_schema and f.log is not null group by f.log;
        else
            insert into ops.change_log (log, source, keys)
            select f.log, 'users', array_agg(distinct r.key) from ops.fence f, changed r
            where f.schema = tg_table_schema and f.log is not null and r.source_table = 'users' and r.key is not null
            group by f.log;
        end if;
    end case;
    if first = last then
        -- A command writes several tables by one statement: its player, and its request, are noted once.
        mark := pg_current_xact_id() || ':' || length(first) || ':' || first;
        if requests is not null then
            mark := mark || '/' || requests[1];
        end if;
        if memo = mark or requests is null and starts_with(memo, mark) then
            return null;
        end if;
        insert into ops.change_log (log, source, keys, requests)
        select f.log, 'users', array[first], requests
        from ops.fence f where f.schema = tg_table_schema and f.log is not null
        returning n into line;
        if line is not null then
            memo := set_config('{NOTED_SETTING}', mark, true);
        end if;
    elsif players is not null then
        insert into ops.change_log (log, source, keys, requests)
        select f.log, 'users', players, requests
        from ops.fence f where f.schema = tg_table_schema and f.log is not null
        returning n into line;
    elsif first is not null then
        if tg_argv[0] = 'user' and tg_op = 'UPDATE' then
            select array_agg(distinct r.id) into players
            from (select c.id from changed c union all select w.id from was w) r;
        elsif tg_argv[0] = 'user' then
            select array_agg(c.id) into players from changed c;
        elsif tg_op = 'UPDATE' then
            select array_agg(distinct r.user_id) into players
            from (select c.user_id from changed c union all select w.user_id from was w) r;
        else
            select array_agg(distinct c.user_id) into players from changed c;
        end if;
        insert into ops.change_log (log, source, keys)
        select f.log, 'users', players from ops.fence f where f.schema = tg_table_schema and f.log is not null
        returning n into line;
    end if;
    -- Asked now and then, so that no command waits for the row of another that asks.
    if line % {ASK_EVERY} = 0 then
        perform ops.bound_change_log(tg_table_schema, line);
    end if;
    return null;
end
"""
"""Notes the players whose rows a statement changed, old keys and new; whole tables where there are no players."""

BOUND_CHANGE_LOG_BODY = """
begin
    -- With a snapshot of its own a transaction could fail here, and no player's write may fail for the log's sake.
    if current_setting('transaction_isolation') <> 'read committed' then
        return;
    end if;
    perform from ops.fence f join ops.change_capture c on c.schema = f.schema and c.log = f.log
    where f.schema = of_schema and line - c.applied > c.most
    for update of f, c skip locked;
    if found then
        update ops.change_capture set ended = 'outgrown' where schema = of_schema;
        update ops.fence set log = null where schema = of_schema;
    end if;
end
"""

REFUSE_TRUNCATE_BODY = f"""
begin
    if not exists (select from ops.fence f where f.schema = tg_table_schema and f.log is not null) then
        return null;
    end if;
    if ops.has_pass(tg_table_schema) then
        update ops.change_capture set ended = 'truncated' where schema = tg_table_schema;
        update ops.fence set log = null where schema = tg_table_schema;
        return null;
    end if;
    raise exception using
        errcode = '{TRUNCATE_SQLSTATE}',
        message = format('%I.%I: its changes are noted, and TRUNCATE names no row', tg_table_schema, tg_table_name),
        detail = 'TRUNCATE without a valid pass',
        hint = 'Delete its rows.';
end
"""

NOTE_CHANGES = f"""create or replace function ops.note_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body${NOTE_CHANGES_BODY}$body$;
create or replace function ops.bound_change_log(of_schema text, line bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body${BOUND_CHANGE_LOG_BODY}$body$;
create or replace function ops.refuse_truncate() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body${REFUSE_TRUNCATE_BODY}$body$;
revoke all on function ops.note_change(), ops.bound_change_log(text, bigint), ops.refuse_truncate() from public;"""

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
{NOTE_CHANGES}
"""
