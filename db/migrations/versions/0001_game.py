"""The game's tables, the transfer's two, the triggers that defend them, and the fence: on from the first moment."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PLAYER_STATE = (
    """
    create table users (
        id text not null,
        username text,
        nickname text,
        is_admin boolean default false not null,
        strategy_level bigint default 1 not null,
        strategy_xp bigint default 0 not null,
        playful_level bigint default 1 not null,
        playful_xp bigint default 0 not null,
        gold bigint default 0 not null,
        diamonds bigint default 0 not null,
        league text,
        tournament_score bigint default 0 not null,
        cumulative_tournament_score bigint default 0 not null,
        forge_level bigint default 1 not null,
        forge_xp bigint default 0 not null,
        action_points bigint default 0 not null,
        action_points_max bigint default 30 not null,
        stage_progress bigint default 0 not null,
        places_equipment bigint default 30 not null,
        places_material bigint default 30 not null,
        places_consumable bigint default 30 not null,
        held boolean default false not null,
        constraint users_pkey primary key (id),
        constraint users_username_key unique (username),
        constraint users_nickname_key unique (nickname),
        constraint users_gold_check check (gold >= 0),
        constraint users_diamonds_check check (diamonds >= 0),
        constraint users_action_points_check check (action_points >= 0),
        constraint users_forge_level_check check (forge_level >= 1),
        constraint users_forge_xp_check check (forge_xp >= 0)
    )
    """,
    """
    create table user_inventory (
        user_id text not null,
        id text not null,
        position bigint default 0 not null,
        name text not null,
        type text not null,
        slot text,
        grade text,
        stars bigint default 0 not null,
        quantity bigint default 1 not null,
        fails bigint default 0 not null,
        options text,
        worn_flag boolean,
        form text,
        constraint user_inventory_pkey primary key (user_id, id),
        constraint user_inventory_user_id_fkey foreign key (user_id) references users (id),
        constraint user_inventory_stars_check check (stars between 0 and 10),
        constraint user_inventory_quantity_check check (quantity >= 1),
        constraint user_inventory_fails_check check (fails >= 0)
    )
    """,
    """
    create table user_equipment (
        user_id text not null,
        slot text not null,
        position bigint default 0 not null,
        item_id text,
        kept text,
        constraint user_equipment_pkey primary key (user_id, slot),
        constraint user_equipment_user_id_fkey foreign key (user_id) references users (id),
        constraint user_equipment_user_id_item_id_fkey foreign key (user_id, item_id)
            references user_inventory (user_id, id) deferrable initially immediate,
        constraint user_equipment_user_id_item_id_key unique (user_id, item_id),
        constraint user_equipment_item_or_kept_check check (num_nonnulls(item_id, kept) = 1)
    )
    """,
    """
    create table user_equipment_presets (
        user_id text not null,
        name text not null,
        position bigint default 0 not null,
        equipment text default '{}' not null,
        form text,
        constraint user_equipment_presets_pkey primary key (user_id, name),
        constraint user_equipment_presets_user_id_fkey foreign key (user_id) references users (id)
    )
    """,
    """
    create table user_mail (
        user_id text not null,
        id text not null,
        position bigint default 0 not null,
        gold bigint default 0 not null,
        diamonds bigint default 0 not null,
        action_points bigint default 0 not null,
        items text default '[]' not null,
        expires_at bigint,
        claimed boolean default false not null,
        form text,
        constraint user_mail_pkey primary key (user_id, id),
        constraint user_mail_user_id_fkey foreign key (user_id) references users (id),
        constraint user_mail_gold_check check (gold >= 0),
        constraint user_mail_diamonds_check check (diamonds >= 0),
        constraint user_mail_action_points_check check (action_points >= 0)
    )
    """,
    """
    create table user_quests (
        user_id text not null,
        period text not null,
        id text not null,
        position bigint default 0 not null,
        target bigint default 0 not null,
        progress bigint default 0 not null,
        reward text default '{}' not null,
        activity_points bigint default 0 not null,
        claimed boolean default false not null,
        form text,
        constraint user_quests_pkey primary key (user_id, period, id),
        constraint user_quests_user_id_fkey foreign key (user_id) references users (id),
        constraint user_quests_period_check check (period in ('daily', 'weekly', 'monthly')),
        constraint user_quests_activity_points_check check (activity_points >= 0)
    )
    """,
    """
    create table user_milestones (
        user_id text not null,
        period text not null,
        activity bigint default 0 not null,
        claimed text default '[false,false,false,false,false]' not null,
        reset_at bigint,
        form text,
        constraint user_milestones_pkey primary key (user_id, period),
        constraint user_milestones_user_id_fkey foreign key (user_id) references users (id),
        constraint user_milestones_period_check check (period in ('daily', 'weekly', 'monthly')),
        constraint user_milestones_activity_check check (activity >= 0)
    )
    """,
    """
    create table user_missions (
        user_id text not null,
        id text not null,
        position bigint default 0 not null,
        started boolean default false not null,
        level bigint default 1 not null,
        amount bigint default 0 not null,
        collected bigint default 0 not null,
        since bigint,
        form text,
        constraint user_missions_pkey primary key (user_id, id),
        constraint user_missions_user_id_fkey foreign key (user_id) references users (id),
        constraint user_missions_level_check check (level between 1 and 10),
        constraint user_missions_amount_check check (amount >= 0),
        constraint user_missions_collected_check check (collected >= 0)
    )
    """,
    """
    create table user_stages (
        user_id text not null,
        stage text not null,
        position bigint default 0 not null,
        cleared boolean default false not null,
        rewarded boolean default false not null,
        constraint user_stages_pkey primary key (user_id, stage),
        constraint user_stages_user_id_fkey foreign key (user_id) references users (id),
        constraint user_stages_reached_check check (cleared or rewarded)
    )
    """,
    """
    create table user_tournaments (
        user_id text not null,
        kind text not null,
        status text,
        rank bigint,
        gold bigint default 0 not null,
        materials text default '{}' not null,
        boxes text default '{}' not null,
        claimed boolean default false not null,
        played_at bigint,
        form text,
        constraint user_tournaments_pkey primary key (user_id, kind),
        constraint user_tournaments_user_id_fkey foreign key (user_id) references users (id),
        constraint user_tournaments_kind_check check (kind in ('neighborhood', 'national', 'world')),
        constraint user_tournaments_gold_check check (gold >= 0),
        constraint user_tournaments_rank_check check (rank between 1 and 16)
    )
    """,
)

OTHER_STATE = (
    """
    create table user_credentials (
        username text not null,
        password_hash text,
        user_id text,
        position bigint default 0 not null,
        cells text,
        constraint user_credentials_pkey primary key (username)
    )
    """,
    """
    create table live_games (
        id text not null,
        position bigint default 0 not null,
        cells text not null,
        constraint live_games_pkey primary key (id)
    )
    """,
    """
    create table key_values (
        key text not null,
        value text,
        position bigint default 0 not null,
        cells text,
        constraint key_values_pkey primary key (key)
    )
    """,
    """
    create table legacy_rows (
        source text not null,
        position bigint not null,
        key text,
        cells text not null,
        constraint legacy_rows_pkey primary key (source, position)
    )
    """,
    "create index legacy_rows_source_key_idx on legacy_rows (source, key)",
    """
    create table legacy_schema (
        position bigint not null,
        type text not null,
        name text not null,
        table_name text not null,
        sql text,
        constraint legacy_schema_pkey primary key (position)
    )
    """,
)

JOURNALS = (
    """
    create table player_openings (
        user_id text not null,
        gold bigint default 0 not null,
        diamonds bigint default 0 not null,
        stock text default '{}' not null,
        constraint player_openings_pkey primary key (user_id),
        constraint player_openings_user_id_fkey foreign key (user_id) references users (id)
    )
    """,
    """
    create table action_receipts (
        user_id text not null,
        request_id text not null,
        command text not null,
        outcome text not null,
        at bigint default 0 not null,
        constraint action_receipts_pkey primary key (user_id, request_id),
        constraint action_receipts_user_id_fkey foreign key (user_id) references users (id)
    )
    """,
    """
    create table currency_ledger (
        user_id text not null,
        request_id text not null,
        n bigint not null,
        currency text not null,
        amount bigint default 0 not null,
        reason text not null,
        balance bigint default 0 not null,
        constraint currency_ledger_pkey primary key (user_id, request_id, n),
        constraint currency_ledger_user_id_fkey foreign key (user_id) references users (id),
        constraint currency_ledger_currency_check check (currency in ('gold', 'diamonds')),
        constraint currency_ledger_balance_check check (balance >= 0)
    )
    """,
    """
    create table inventory_history (
        user_id text not null,
        request_id text not null,
        n bigint not null,
        action text not null,
        item_id text not null,
        delta bigint default 0 not null,
        stock bigint default 0 not null,
        constraint inventory_history_pkey primary key (user_id, request_id, n),
        constraint inventory_history_user_id_fkey foreign key (user_id) references users (id),
        constraint inventory_history_stock_check check (stock >= 0)
    )
    """,
)

TRANSFER = (
    """
    create table quarantine (
        run text not null,
        n bigint not null,
        kind text not null,
        source_table text not null,
        key text,
        column_name text not null,
        path text not null,
        position bigint,
        storage text not null,
        original bytea not null,
        rule text not null,
        reason text not null,
        constraint quarantine_pkey primary key (run, n),
        constraint quarantine_kind_check check (kind in ('aside', 'held'))
    )
    """,
    "create index quarantine_source_table_key_idx on quarantine (source_table, key)",
    """
    create table transfer_checkpoints (
        run text not null,
        source_table text not null,
        n bigint not null,
        source text not null,
        position bigint not null,
        rows bigint not null,
        bytes bigint not null,
        counts text default '{}' not null,
        constraint transfer_checkpoints_pkey primary key (run, source_table, n)
    )
    """,
)

FENCED = (
    "users",
    "user_inventory",
    "user_equipment",
    "user_equipment_presets",
    "user_mail",
    "user_quests",
    "user_milestones",
    "user_missions",
    "user_stages",
    "user_tournaments",
    "user_credentials",
    "live_games",
    "key_values",
    "legacy_rows",
    "legacy_schema",
    "player_openings",
    "action_receipts",
    "currency_ledger",
    "inventory_history",
    "quarantine",
    "transfer_checkpoints",
)
APPEND_ONLY = ("player_openings", "action_receipts", "currency_ledger", "inventory_history")

# The view finds its schema through the table, so that a schema renamed away reads as fenced.
FENCE_STATE = """
    create view fence_state as
    select
        coalesce((
            select f.state
            from ops.fence f
            join pg_catalog.pg_namespace n on n.nspname = f.schema
            join pg_catalog.pg_class c on c.relnamespace = n.oid
            where c.oid = 'users'::regclass
        ), 'fenced') as state,
        (select e.name from ops.environment e) as environment
"""
FENCE_ON = """
    insert into ops.fence (schema, state) values (current_schema(), 'fenced')
    on conflict (schema) do update set state = excluded.state, since = now()
"""
NO_PASS = "delete from ops.fence_passes where schema = current_schema()"  # noqa: S105  # a statement, no secret


def upgrade() -> None:
    """In one transaction: nobody ever sees a table that is not fenced."""
    for statement in (*PLAYER_STATE, *OTHER_STATE, *JOURNALS, *TRANSFER):
        op.execute(statement)
    for table in FENCED:
        op.execute(
            f"create trigger sudamr_fence before insert or update or delete or truncate on {table}"
            " for each statement execute function ops.refuse_fenced()"
        )
        op.execute(f"alter table {table} enable always trigger sudamr_fence")
    for table in APPEND_ONLY:
        op.execute(
            f"create trigger sudamr_journal before update or delete or truncate on {table}"
            " for each statement execute function ops.refuse_rewrite()"
        )
        op.execute(f"alter table {table} enable always trigger sudamr_journal")
    for statement in (FENCE_STATE, FENCE_ON, NO_PASS):
        op.execute(statement)


def downgrade() -> None:
    """Never: production goes forward, or back to a snapshot."""
    raise NotImplementedError("restore a snapshot instead")
