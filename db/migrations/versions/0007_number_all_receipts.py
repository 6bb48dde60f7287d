"""Number the receipts of every player, and chain them."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def field(value: str) -> str:
    """Return SQL of the value behind its length in bytes."""
    return f"octet_length({value}) || ':' || {value}"


def lines(table: str, columns: str) -> str:
    """Return SQL of a receipt's lines in one journal: how many, and each one's fields."""
    fields = " || ".join(field(f"l.{column}::text") for column in columns.split())
    return f"""(
                    select {field("count(*)::text")} || coalesce(string_agg({fields}, '' order by l.n), '')
                    from {table} l where l.user_id = r.user_id and l.request_id = r.request_id
                )"""


OPENING = " || ".join(field(f"o.{column}::text") for column in ["user_id", "gold", "diamonds", "stock"])
RECEIPT = " || ".join(field(f"r.{column}::text") for column in ["user_id", "request_id", "command", "outcome", "at"])
LEDGER = lines("currency_ledger", "n currency amount reason balance")
HISTORY = lines("inventory_history", "n action item_id delta stock")

NUMBER = f"""
do $number$
declare
    of_game constant text := current_schema();
    player text;
    number bigint;
    link text;
    receipt record;
    done integer := 0;
begin
    for player in select u.id from users u where u.seq is null order by u.id loop
        if done % 10 = 0 then
            perform set_config('sudamr.fence_pass', gen_random_uuid()::text, true);
            insert into ops.fence_passes (schema, pass_sha256)
            values (of_game, encode(sha256(convert_to(current_setting('sudamr.fence_pass'), 'UTF8')), 'hex'));
        end if;
        perform from users u where u.id = player for update;
        select coalesce(max(r.seq), 0) into number from action_receipts r where r.user_id = player;
        select coalesce(
            (select r.chain from action_receipts r where r.user_id = player and r.seq = number),
            (
                select encode(sha256(convert_to({OPENING}, 'UTF8')), 'hex')
                from player_openings o where o.user_id = player
            ),
            ''
        ) into link;
        for receipt in
            select r.request_id, {RECEIPT} || {LEDGER} || {HISTORY} as body
            from action_receipts r where r.user_id = player and r.seq is null
            order by r.at, r.request_id collate "C"
        loop
            number := number + 1;
            link := encode(sha256(convert_to(link || {field("number::text")} || receipt.body, 'UTF8')), 'hex');
            update action_receipts r set seq = number, chain = link
            where r.user_id = player and r.request_id = receipt.request_id;
        end loop;
        update users u set seq = number, chain = case when number = 0 then '' else link end where u.id = player;
        done := done + 1;
        if done % 10 = 0 then
            delete from ops.fence_passes p where p.schema = of_game
            and p.pass_sha256 = encode(sha256(convert_to(current_setting('sudamr.fence_pass'), 'UTF8')), 'hex');
            commit;
        end if;
    end loop;
    delete from ops.fence_passes p where p.schema = of_game
    and p.pass_sha256 = encode(sha256(convert_to(current_setting('sudamr.fence_pass', true), 'UTF8')), 'hex');
end
$number$
"""


def upgrade() -> None:
    """A few players a transaction, each under the lock of a command. Killed and run again, it goes on."""
    with op.get_context().autocommit_block():
        op.execute(NUMBER)


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
