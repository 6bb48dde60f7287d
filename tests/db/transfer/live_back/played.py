"""What may be done on Postgres while players play there: by commands, by operators, and by nobody in his right mind."""

from __future__ import annotations

_FINE = (
    "(select id from users where not held and nickname is not null and not exists"
    " (select from quarantine q where q.key = users.id) order by id limit 1 offset {})"
)
A, B = (_FINE.format(n) for n in range(2))
"""Two players with whom nothing is wrong."""

OF_A = f"from users u where u.id = {A}"
OF_B = f"from users u where u.id = {B}"

WRITES = {
    "gold": [f"update users set gold = gold + 5 where id = {A}"],
    "everybody": ["update users set gold = gold + 1"],
    "a claim": [
        f"update user_mail set claimed = true where user_id = {A}",
        f"insert into action_receipts select u.id, 'r-1', '{{}}', '{{}}', 5, 1, 'c' {OF_A}",
        f"update users set seq = 1, chain = 'c', gold = gold + 5 where id = {A}",
        f"insert into currency_ledger select u.id, 'r-1', 1, 'gold', 5, 'mail', 5 {OF_A}",
        f"insert into inventory_history select u.id, 'r-1', 1, 'claim', 'i', 1, 1 {OF_A}",
        f"insert into player_openings select u.id, 5, 0, '{{}}' {OF_A}",
    ],
    "a child table alone": [
        (
            f"delete from user_inventory i where user_id = {A} and not exists"
            " (select from user_equipment e where e.user_id = i.user_id and e.item_id = i.id)"
        ),
    ],
    "quests and the like": [
        f"update user_quests set claimed = not claimed where user_id = {A}",
        f"update user_milestones set activity = 77 where user_id = {A}",
        f"update user_missions set amount = 3, collected = 7 where user_id = {A}",
        f"insert into user_stages select u.id, '9-9', 9000000, true, true {OF_A}",
        f"insert into user_equipment_presets (user_id, name, position) select u.id, 'n', 9000000 {OF_A}",
        f"update user_tournaments set claimed = true where user_id = {A}",
    ],
    "names swapped": [
        f"create temp table n as select id, nickname, username from users where id in ({A}, {B})",
        "update users set nickname = null, username = null where id in (select id from n)",
        (
            "update users u set nickname = n.nickname, username = n.username from n"
            " where u.id in (select id from n) and n.id <> u.id"
        ),
    ],
    "new players": [
        "insert into users (id, nickname, gold) values ('zz-new', 'fresh', 7), ('aa-new', 'newer', 8)",
        "insert into user_stages values ('zz-new', '1-1', 1, true, false)",
    ],
    "a new player with a name that another gives up": [
        f"create temp table m as select id, nickname from users where id = {A}",
        "update users set nickname = 'given up' where id in (select id from m)",
        "insert into users (id, nickname) select 'zz-heir', nickname from m",
    ],
    "deleted and made again": [
        "create temp table k as select * from key_values where key = 'guilds'",
        "delete from key_values where key = 'guilds'",
        "insert into key_values select * from k",
        "update key_values set value = '{}' where key = 'guilds'",
        f"create temp table s as select * from user_stages where user_id = {A}",
        f"delete from user_stages where user_id = {A}",
        "insert into user_stages select * from s order by position desc",
    ],
    "a player deleted and made again": [
        "insert into users (id, nickname) values ('gone', 'and back')",
        "delete from users where id = 'gone'",
        "insert into users (id, nickname, gold) values ('gone', 'back', 3)",
    ],
    "other tables": [
        "insert into key_values (key, value, position) values ('fresh', '[1]', 500)",
        "delete from live_games where position = 1",
        "update user_credentials set password_hash = 'h'",
        "update legacy_rows set cells = replace(cells, '1', '2') where source = 'schema_version'",
    ],
    "what no command knows": [
        (
            "update legacy_rows set cells = regexp_replace(cells, '\"lastLoginAt\":[0-9]+', '\"lastLoginAt\":12')"
            " where source = 'users'"
        ),
    ],
    "held players": ["update users set gold = gold + 1 where held", "update users set held = false where held"],
    "a finding that was loaded since": ["update quarantine set loaded_by = 'replay' where path = '$'"],
    "journals rewritten": [
        (
            "insert into action_receipts select u.id, 'q' || n, '{}', '{}', 5, n, 'c'"
            f" from users u, generate_series(1, 3) n where u.id in ({A}, {B})"
        ),
        f"insert into currency_ledger select u.id, 'q1', 1, 'gold', 5, 'mail', 5 {OF_B}",
        "update currency_ledger set amount = 6",
        "delete from action_receipts where seq = 3",
        f"insert into inventory_history select u.id, 'odd', 1, 'claim', 'i', 1, 1 {OF_B}",
        "update users u set seq = r.seq, chain = r.chain from action_receipts r where r.user_id = u.id and r.seq = 2",
    ],
    "a new draw epoch": ["update ops.fence set draw_epoch = 'another'", "update users set gold = gold + 1"],
    "one after another in a transaction, one undone": [
        f"update users set gold = gold + 5 where id = {A}",
        f"savepoint s; update users set gold = gold + 9 where id = {B}; rollback to savepoint s",
        f"update users set gold = gold + 7 where id = {B}",
        f"update user_mail set claimed = true where user_id = {A}",
    ],
}
