"""Note on the change log whose rows were changed: triggers on every table, and the log, which is off until a lift."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

LOG_OF_FENCE = "alter table ops.fence add column if not exists log text"

CHANGE_LOG = """
create table if not exists ops.change_log (
    n bigint generated always as identity primary key,
    log text not null,
    at timestamptz not null default now(),
    source text not null,
    keys text[],
    requests text[],
    positions bigint[]
)
"""

CHANGE_CAPTURE = """
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
)
"""

NOTE_CHANGE = """
create or replace function ops.note_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
    memo text := current_setting('sudamr.noted', true);
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
            memo := set_config('sudamr.noted', mark, true);
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
    if line % 1024 = 0 then
        perform ops.bound_change_log(tg_table_schema, line);
    end if;
    return null;
end
$body$
"""

BOUND = """
create or replace function ops.bound_change_log(of_schema text, line bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
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
$body$
"""

REFUSE_TRUNCATE = """
create or replace function ops.refuse_truncate() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
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
        errcode = 'SF003',
        message = format('%I.%I: its changes are noted, and TRUNCATE names no row', tg_table_schema, tg_table_name),
        detail = 'TRUNCATE without a valid pass',
        hint = 'Delete its rows.';
end
$body$
"""

FOR_TRIGGERS_ALONE = (
    "revoke all on function ops.note_change(), ops.bound_change_log(text, bigint), ops.refuse_truncate() from public"
)

PLAYERS = (
    "user_inventory",
    "user_equipment",
    "user_equipment_presets",
    "user_mail",
    "user_quests",
    "user_milestones",
    "user_missions",
    "user_stages",
    "user_tournaments",
    "player_openings",
)
REQUESTS = ("action_receipts", "currency_ledger", "inventory_history")
WHOLE = {
    "user_credentials": "user_credentials",
    "live_games": "live_games",
    "key_values": "kv",
    "legacy_schema": "legacy_schema",
}
NOTED = {
    "users": "'user'",
    **dict.fromkeys(PLAYERS, "'player'"),
    **{table: f"'whole', '{legacy}'" for table, legacy in WHOLE.items()},
    "legacy_rows": "'kept'",
    **dict.fromkeys(REQUESTS, "'request'"),
    "quarantine": "'finding'",
}
"""The arguments of each table's triggers: the kind of its keys; for a table without players, its name in the file."""

ROWS = {
    "insert": "new table as changed",
    "update": "old table as was new table as changed",
    "delete": "old table as changed",
}


def upgrade() -> None:
    """Take `users` first, as every command does: players wait for this, and nothing deadlocks."""
    op.execute("lock table users in exclusive mode")
    for statement in (LOG_OF_FENCE, CHANGE_LOG, CHANGE_CAPTURE, NOTE_CHANGE, BOUND, REFUSE_TRUNCATE):
        op.execute(statement)
    op.execute(FOR_TRIGGERS_ALONE)
    for table, arguments in NOTED.items():
        for event, rows in ROWS.items():
            op.execute(
                f"create trigger sudamr_log_{event} after {event} on {table} referencing {rows}"
                f" for each statement execute function ops.note_change({arguments})"
            )
            op.execute(f"alter table {table} enable always trigger sudamr_log_{event}")
        op.execute(
            f"create trigger sudamr_log_truncate before truncate on {table}"
            " for each statement execute function ops.refuse_truncate()"
        )
        op.execute(f"alter table {table} enable always trigger sudamr_log_truncate")


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
