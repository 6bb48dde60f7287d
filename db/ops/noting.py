"""The functions of the triggers that write the change log of Postgres, as SQL. See `db.ops.change_log`.

A row of a player's table is noted by its own trigger, which finds by a setting of the transaction that the player, or
the request, was noted already. Any other player or request has the setting say that statements are noted whole: then
the trigger of each statement notes all of its rows by one line, from that statement on.

What a session puts into the setting makes it note more. To leave anything out it would have to name its own
transaction's number and a player, and then statements that change rows of this player alone are left out.
"""

from __future__ import annotations

TRUNCATE_SQLSTATE = "SF003"
NOTED_SETTING = "sudamr.noted"
"""Within a transaction, the player whom its line of the change log names; `*` if its statements are noted whole.

The same name and `_request` is the setting for the request that the line names.
"""

ASK_EVERY = 1024
"""The lines of the change log after which a command asks whether the log is full."""

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
"""Notes the rows that a statement changed of tables without players, old keys and new.

Before revision 0013, of players' tables too: `prepare` may give a database newer functions than it has triggers.
"""

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


def note_row_body(kind: str, event: str) -> str:
    """Return the body of the trigger of a row: it notes the player, and the request of a journal's line.

    kind: `user`, `player` or `request`, as in `tables.LOGGED`; event: `insert`, `update` or `delete`.
    """
    row = "old" if event == "delete" else "new"
    player = f"{row}.{'id' if kind == 'user' else 'user_id'}"
    keys = [player] if kind != "request" else [player, f"{row}.request_id"]
    mark = f"pg_catalog.length({player}), {', '.join(keys)}" if kind == "request" else player
    moved = [f"{key} operator(pg_catalog.<>) {key.replace('new.', 'old.')}" for key in keys if event == "update"]
    stays = "".join(f"\n        and not {one}" for one in moved)
    moves = "".join(f"\n        or {one}" for one in moved)
    noted = f"pg_catalog.current_setting('{NOTED_SETTING}', true)"
    noted_request = f"pg_catalog.current_setting('{NOTED_SETTING}_request', true)"
    here = "pg_catalog.concat(tg_table_schema, ':', pg_catalog.pg_current_xact_id(), ':', "
    # A request of the player whom the transaction has noted without any is noted too.
    another = f"{noted} operator(pg_catalog.<>) ''"
    if kind == "request":
        another = (
            f"{noted_request} operator(pg_catalog.<>) ''\n        or {another}"
            f" and {noted} operator(pg_catalog.<>) {here}{player})"
        )
    remember = f"pg_catalog.set_config('{NOTED_SETTING}', {here}{player}), true)"
    if kind == "request":
        remember += (
            f"\n        operator(pg_catalog.||) pg_catalog.set_config('{NOTED_SETTING}_request', {here}{mark}), true)"
        )
    return f"""
declare
    -- No search path is set, which would cost more than all the rest: so every name says its schema.
    noted pg_catalog.text;
    line pg_catalog.int8;
begin
    -- One expression, for each is prepared anew in every transaction. A command's other rows are of the same player.
    if {noted_request if kind == "request" else noted} operator(pg_catalog.=)
        {here}{mark}){stays}
    then
        return null;
    end if;
    -- Another player or request, or another key: from now on the transaction's statements are noted whole. This one is
    -- among them, for its own trigger comes after those of its rows.
    if {another}{moves} then
        noted := pg_catalog.set_config('{NOTED_SETTING}', '*', true);
        return null;
    end if;
    insert into ops.change_log (log, source, keys{", requests" if kind == "request" else ""})
    select f.log, 'users', {", ".join(f"array[{key}]" for key in keys)} from ops.fence f
    where f.schema operator(pg_catalog.=) tg_table_schema::pg_catalog.text and f.log is not null
    returning n into line;
    -- Without a line the log is off, and nobody turns it on while a transaction has written: see `refuse_fenced`.
    noted := {remember};
    -- Asked now and then, so that no command waits for the row of another that asks.
    if line operator(pg_catalog.%) {ASK_EVERY} operator(pg_catalog.=) 0 then
        perform ops.bound_change_log(tg_table_schema, line);
    end if;
    return null;
end
"""


NOTE_STATEMENT_BODY = f"""
declare
    -- No search path is set, which would cost more than all the rest: so every name says its schema.
    current_log pg_catalog.text;
    players pg_catalog.text[];
    requests pg_catalog.text[];
    line pg_catalog.int8;
begin
    -- Whatever a session has set beforehand, its rows' triggers have asked and said by now.
    if (pg_catalog.current_setting('{NOTED_SETTING}', true) operator(pg_catalog.=) '*') is not true then
        return null;
    end if;
    select f.log into current_log from ops.fence f
    where f.schema operator(pg_catalog.=) tg_table_schema::pg_catalog.text;
    if current_log is null then
        return null;
    end if;
    if tg_argv[0] operator(pg_catalog.=) 'player' then
        if tg_op operator(pg_catalog.=) 'UPDATE' then
            select pg_catalog.array_agg(r.user_id) into players
            from (select c.user_id from changed c union select w.user_id from was w) r;
        else
            select pg_catalog.array_agg(distinct c.user_id) into players from changed c;
        end if;
    elsif tg_argv[0] operator(pg_catalog.=) 'request' then
        if tg_op operator(pg_catalog.=) 'UPDATE' then
            select pg_catalog.array_agg(r.user_id), pg_catalog.array_agg(r.request_id) into players, requests
            from (select c.user_id, c.request_id from changed c union select w.user_id, w.request_id from was w) r;
        else
            select pg_catalog.array_agg(r.user_id), pg_catalog.array_agg(r.request_id) into players, requests
            from (select distinct c.user_id, c.request_id from changed c) r;
        end if;
    elsif tg_op operator(pg_catalog.=) 'UPDATE' then
        select pg_catalog.array_agg(r.id) into players
        from (select c.id from changed c union select w.id from was w) r;
    else
        select pg_catalog.array_agg(c.id) into players from changed c;
    end if;
    if players is null then
        return null;
    end if;
    insert into ops.change_log (log, source, keys, requests) values (current_log, 'users', players, requests)
    returning n into line;
    if line operator(pg_catalog.%) {ASK_EVERY} operator(pg_catalog.=) 0 then
        perform ops.bound_change_log(tg_table_schema, line);
    end if;
    return null;
end
"""
"""Notes all players, and requests, whose rows a statement changed, if the triggers of its rows left that to it."""

KINDS = ("user", "player", "request")
EVENTS = ("insert", "update", "delete")


def row_function(kind: str, event: str) -> str:
    """Return the name of the function, in the schema `ops`, whose body is `note_row_body`."""
    return f"note_{kind}_{event}"


_ROW_FUNCTIONS = "\n".join(
    f"create or replace function ops.{row_function(kind, event)}() returns trigger\n"
    f"language plpgsql security definer as $body${note_row_body(kind, event)}$body$;\n"
    f"revoke all on function ops.{row_function(kind, event)}() from public;"
    for kind in KINDS
    for event in EVENTS
)

NOTING = f"""create or replace function ops.note_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body${NOTE_CHANGES_BODY}$body$;
create or replace function ops.bound_change_log(of_schema text, line bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body${BOUND_CHANGE_LOG_BODY}$body$;
create or replace function ops.refuse_truncate() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body${REFUSE_TRUNCATE_BODY}$body$;
create or replace function ops.note_statement() returns trigger
language plpgsql security definer as $body${NOTE_STATEMENT_BODY}$body$;
revoke all on function ops.note_statement() from public;
revoke all on function ops.note_change(), ops.bound_change_log(text, bigint), ops.refuse_truncate() from public;
{_ROW_FUNCTIONS}"""
