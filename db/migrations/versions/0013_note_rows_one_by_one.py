"""Note a command's rows one by one, which costs it less; a statement of more players or requests is noted whole."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NOTE_STATEMENT = """
create or replace function ops.note_statement() returns trigger
language plpgsql security definer as $body$
declare
    -- No search path is set, which would cost more than all the rest: so every name says its schema.
    current_log pg_catalog.text;
    players pg_catalog.text[];
    requests pg_catalog.text[];
    line pg_catalog.int8;
begin
    -- Whatever a session has set beforehand, its rows' triggers have asked and said by now.
    if (pg_catalog.current_setting('sudamr.noted', true) operator(pg_catalog.=) '*') is not true then
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
    if line operator(pg_catalog.%) 1024 operator(pg_catalog.=) 0 then
        perform ops.bound_change_log(tg_table_schema, line);
    end if;
    return null;
end
$body$
"""

FOR_TRIGGERS_ALONE = "revoke all on function ops.note_statement() from public"

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
NOTED = {
    "users": "user",
    **dict.fromkeys(PLAYERS, "player"),
    **dict.fromkeys(("action_receipts", "currency_ledger", "inventory_history"), "request"),
}
ROWS = {
    "insert": "new table as changed",
    "update": "old table as was new table as changed",
    "delete": "old table as changed",
}


def note_row(kind: str, event: str) -> str:
    """Return the function's body. It notes the player of a row, and the request of a journal's line."""
    row = "old" if event == "delete" else "new"
    player = f"{row}.{'id' if kind == 'user' else 'user_id'}"
    keys = [player] if kind != "request" else [player, f"{row}.request_id"]
    mark = f"pg_catalog.length({player}), {', '.join(keys)}" if kind == "request" else player
    moved = [f"{key} operator(pg_catalog.<>) {key.replace('new.', 'old.')}" for key in keys if event == "update"]
    stays = "".join(f"\n        and not {one}" for one in moved)
    moves = "".join(f"\n        or {one}" for one in moved)
    noted = "pg_catalog.current_setting('sudamr.noted', true)"
    noted_request = "pg_catalog.current_setting('sudamr.noted_request', true)"
    here = "pg_catalog.concat(tg_table_schema, ':', pg_catalog.pg_current_xact_id(), ':', "
    # A request of the player whom the transaction has noted without any is noted too.
    another = f"{noted} operator(pg_catalog.<>) ''"
    if kind == "request":
        another = (
            f"{noted_request} operator(pg_catalog.<>) ''\n        or {another}"
            f" and {noted} operator(pg_catalog.<>) {here}{player})"
        )
    remember = f"pg_catalog.set_config('sudamr.noted', {here}{player}), true)"
    if kind == "request":
        remember += (
            f"\n        operator(pg_catalog.||) pg_catalog.set_config('sudamr.noted_request', {here}{mark}), true)"
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
        noted := pg_catalog.set_config('sudamr.noted', '*', true);
        return null;
    end if;
    insert into ops.change_log (log, source, keys{", requests" if kind == "request" else ""})
    select f.log, 'users', {", ".join(f"array[{key}]" for key in keys)} from ops.fence f
    where f.schema operator(pg_catalog.=) tg_table_schema::pg_catalog.text and f.log is not null
    returning n into line;
    -- Without a line the log is off, and nobody turns it on while a transaction has written: see `refuse_fenced`.
    noted := {remember};
    -- Asked now and then, so that no command waits for the row of another that asks.
    if line operator(pg_catalog.%) 1024 operator(pg_catalog.=) 0 then
        perform ops.bound_change_log(tg_table_schema, line);
    end if;
    return null;
end
"""


def upgrade() -> None:
    """Take `users` first, as every command does: players wait for this, and nothing deadlocks.

    A trigger is replaced, never dropped, which would wait for those who read the table.
    """
    op.execute("lock table users in exclusive mode")
    for statement in (NOTE_STATEMENT, FOR_TRIGGERS_ALONE):
        op.execute(statement)
    for kind in dict.fromkeys(NOTED.values()):
        for event in ROWS:
            op.execute(
                f"create or replace function ops.note_{kind}_{event}() returns trigger"
                f" language plpgsql security definer as $body${note_row(kind, event)}$body$"
            )
            op.execute(f"revoke all on function ops.note_{kind}_{event}() from public")
    for table, kind in NOTED.items():
        for event, rows in ROWS.items():
            for name, each, function in (
                (f"sudamr_log_{event}", f"referencing {rows} for each statement", f"note_statement('{kind}')"),
                (f"sudamr_log_row_{event}", "for each row", f"note_{kind}_{event}()"),
            ):
                op.execute(
                    f"create or replace trigger {name} after {event} on {table} {each} execute function ops.{function}"
                )
                op.execute(f"alter table {table} enable always trigger {name}")


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
