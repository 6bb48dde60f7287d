"""Every table of the game, once: what players own (state) and what happened to it (journals).

The same tables stand on both stores: on Postgres under these names, in the legacy file the state is JSON in the
columns of `users` (see `game.legacy.codec`) and the journals bear the prefix `sudamr_`.

A column marked `CODEC` serves only to rebuild a legacy row byte for byte. The Postgres store never loads one for a
command, and a record made by a command has none. A column marked `HEAD` is part of no record: it tells the Postgres
store the player's newest receipt (`game.chain`), which the legacy store finds in the receipts themselves.
"""

from __future__ import annotations

import sqlalchemy as sa

CODEC = {"codec": True}
HEAD = {"head": True}
LEGACY_PREFIX = "sudamr_"
CANARY_PREFIX = "sudamr-canary-"
"""Begins the ids of players that a smoke test makes and removes; no other player may be called so."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _text(name: str, *, key: bool = False, null: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=null, server_default=default)


def _integer(name: str, default: int | None = 0, *, key: bool = False) -> sa.Column[int]:
    """Return a bigint; with no default it may be NULL, unless it is part of the key."""
    server_default = None if default is None else sa.text(str(default))
    return sa.Column(
        name,
        sa.BigInteger,
        primary_key=key,
        nullable=default is None and not key,
        server_default=server_default,
        autoincrement=False,
    )


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _codec(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=True, info=CODEC)


def _player(*, key: bool = True) -> sa.Column[str]:
    return sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), primary_key=key, nullable=False)


def _at_least(column: str, least: int = 0) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} >= {least}", name=column)


users = sa.Table(
    "users",
    metadata,
    _text("id", key=True),
    sa.Column("username", sa.Text, unique=True),
    sa.Column("nickname", sa.Text, unique=True),
    _flag("is_admin"),
    _integer("strategy_level", 1),
    _integer("strategy_xp"),
    _integer("playful_level", 1),
    _integer("playful_xp"),
    _integer("gold"),
    _integer("diamonds"),
    _text("league", null=True),
    _integer("tournament_score"),
    _integer("cumulative_tournament_score"),
    _integer("forge_level", 1),
    _integer("forge_xp"),
    _integer("action_points"),
    _integer("action_points_max", 30),
    _integer("stage_progress"),
    _integer("places_equipment", 30),
    _integer("places_material", 30),
    _integer("places_consumable", 30),
    _flag("held"),
    sa.Column("seq", sa.BigInteger, nullable=False, server_default=sa.text("0"), info=HEAD),
    sa.Column("chain", sa.Text, nullable=False, server_default="", info=HEAD),
    _at_least("gold"),
    _at_least("diamonds"),
    _at_least("action_points"),
    _at_least("forge_level", 1),
    _at_least("forge_xp"),
    comment=(
        "One row a player. held: something of the player's could not be read; every command is refused. seq, chain:"
        " of the player's newest receipt."
    ),
)

user_inventory = sa.Table(
    "user_inventory",
    metadata,
    _player(),
    _text("id", key=True),
    _integer("position"),
    _text("name"),
    _text("type"),
    _text("slot", null=True),
    _text("grade", null=True),
    _integer("stars"),
    _integer("quantity", 1),
    _integer("fails"),
    sa.Column("options", sa.Text),
    sa.Column("worn_flag", sa.Boolean),
    _codec("form"),
    sa.CheckConstraint("stars between 0 and 10", name="stars"),
    _at_least("quantity", 1),
    _at_least("fails"),
    comment=(
        "position: a sort key with gaps. options: the item's options as JSON. worn_flag: the legacy isEquipped flag"
        " where it disagrees with user_equipment, else NULL."
    ),
)

user_equipment = sa.Table(
    "user_equipment",
    metadata,
    _player(),
    _text("slot", key=True),
    _integer("position"),
    _text("item_id", null=True),
    _text("kept", null=True),
    sa.ForeignKeyConstraint(
        ["user_id", "item_id"], ["user_inventory.user_id", "user_inventory.id"], deferrable=True, initially="IMMEDIATE"
    ),
    sa.UniqueConstraint("user_id", "item_id"),
    sa.CheckConstraint("num_nonnulls(item_id, kept) = 1", name="item_or_kept"),
    comment="What is worn, by slot. kept: a legacy entry that names no item of the player's, as its JSON text.",
)

user_mail = sa.Table(
    "user_mail",
    metadata,
    _player(),
    _text("id", key=True),
    _integer("position"),
    _integer("gold"),
    _integer("diamonds"),
    _integer("action_points"),
    _text("items", default="[]"),
    _integer("expires_at", None),
    _flag("claimed"),
    _codec("form"),
    _at_least("gold"),
    _at_least("diamonds"),
    _at_least("action_points"),
    comment="items: JSON text [[name, quantity], ...]. expires_at: epoch milliseconds; NULL or 0: never.",
)

user_tournaments = sa.Table(
    "user_tournaments",
    metadata,
    _player(),
    _text("kind", key=True),
    _text("status", null=True),
    _integer("rank", None),
    _integer("gold"),
    _text("materials", default="{}"),
    _text("boxes", default="{}"),
    _flag("claimed"),
    _integer("played_at", None),
    _codec("form"),
    sa.CheckConstraint("kind in ('neighborhood', 'national', 'world')", name="kind"),
    _at_least("gold"),
    sa.CheckConstraint("rank between 1 and 16", name="rank"),
    comment="The last tournament of each kind. gold, materials, boxes: gathered in its matches, not yet claimed.",
)

user_equipment_presets = sa.Table(
    "user_equipment_presets",
    metadata,
    _player(),
    _text("name", key=True),
    _integer("position"),
    _text("equipment", default="{}"),
    _codec("form"),
    comment="Sets of equipment to put on at once. equipment: JSON text {slot: item id}; an item may be gone by now.",
)

user_quests = sa.Table(
    "user_quests",
    metadata,
    _player(),
    _text("period", key=True),
    _text("id", key=True),
    _integer("position"),
    _integer("target"),
    _integer("progress"),
    _text("reward", default="{}"),
    _integer("activity_points"),
    _flag("claimed"),
    _codec("form"),
    sa.CheckConstraint("period in ('daily', 'weekly', 'monthly')", name="period"),
    _at_least("activity_points"),
    comment="reward: JSON text {gold, diamonds, actionPoints, items: [{itemId, quantity}]}, each where there is one.",
)

user_milestones = sa.Table(
    "user_milestones",
    metadata,
    _player(),
    _text("period", key=True),
    _integer("activity"),
    _text("claimed", default="[false,false,false,false,false]"),
    _integer("reset_at", None),
    _codec("form"),
    sa.CheckConstraint("period in ('daily', 'weekly', 'monthly')", name="period"),
    _at_least("activity"),
    comment=(
        "Activity points of the period under way. claimed: JSON text, a flag each for 20, 40, 60, 80, 100 points."
        " reset_at: epoch milliseconds at which the period's quests were handed out; NULL or 0: they don't run out."
    ),
)

user_missions = sa.Table(
    "user_missions",
    metadata,
    _player(),
    _text("id", key=True),
    _integer("position"),
    _flag("started"),
    _integer("level", 1),
    _integer("amount"),
    _integer("collected"),
    _integer("since", None),
    _codec("form"),
    sa.CheckConstraint("level between 1 and 10", name="level"),
    _at_least("amount"),
    _at_least("collected"),
    comment=(
        "Training missions. since: epoch milliseconds up to which production is in amount; collected: at this level."
    ),
)

user_stages = sa.Table(
    "user_stages",
    metadata,
    _player(),
    _text("stage", key=True),
    _integer("position"),
    _flag("cleared"),
    _flag("rewarded"),
    sa.CheckConstraint("cleared or rewarded", name="reached"),
    comment="Single-play stages: which were cleared, and of which the first-clear reward was granted.",
)

user_credentials = sa.Table(
    "user_credentials",
    metadata,
    _text("username", key=True),
    _text("password_hash", null=True),
    _text("user_id", null=True),
    _integer("position"),
    sa.Column("cells", sa.Text, info=CODEC),
    comment="Secrets: moved, never printed. position: the legacy rowid.",
)

live_games = sa.Table(
    "live_games",
    metadata,
    _text("id", key=True),
    _integer("position"),
    _text("cells"),
    comment="Games in play, kept whole: cells is JSON text as game.legacy.cells writes it.",
)

key_values = sa.Table(
    "key_values",
    metadata,
    _text("key", key=True),
    _text("value", null=True),
    _integer("position"),
    sa.Column("cells", sa.Text, info=CODEC),
    comment="The legacy kv: guilds, announcements, logs, counters, flags; values are JSON text, never interpreted.",
)

legacy_rows = sa.Table(
    "legacy_rows",
    metadata,
    _text("source", key=True),
    _integer("position", None, key=True),
    _text("key", null=True),
    _text("cells"),
    sa.Index("legacy_rows_source_key_idx", "source", "key"),
    comment=(
        "What the game does not model, whole: for a player (source users, key the id) the other columns of the row; for"
        " an unknown table every column. position is the rowid; cells is JSON text as game.legacy.cells writes it."
    ),
)

legacy_schema = sa.Table(
    "legacy_schema",
    metadata,
    _integer("position", None, key=True),
    _text("type"),
    _text("name"),
    _text("table_name"),
    _text("sql", null=True),
    comment="The legacy file's own schema, statement by statement, and (type pragma) its settings.",
)

action_receipts = sa.Table(
    "action_receipts",
    metadata,
    _player(),
    _text("request_id", key=True),
    _text("command"),
    _text("outcome"),
    _integer("at"),
    sa.Column("seq", sa.BigInteger, nullable=False),
    _text("chain"),
    _at_least("seq", 1),
    sa.Index("action_receipts_user_id_seq_idx", "user_id", "seq", unique=True),
    comment=(
        "One row a granted request. command and outcome: JSON text. at: epoch milliseconds. seq: from 1, without a gap"
        " for a player. chain: sha256 of the receipt, its lines and the chain before it."
    ),
)

currency_ledger = sa.Table(
    "currency_ledger",
    metadata,
    _player(),
    _text("request_id", key=True),
    _integer("n", None, key=True),
    _text("currency"),
    _integer("amount"),
    _text("reason"),
    _integer("balance"),
    sa.CheckConstraint("currency in ('gold', 'diamonds')", name="currency"),
    _at_least("balance"),
    comment="Every change of gold and diamonds; n from 1 within a request; balance is what it left.",
)

inventory_history = sa.Table(
    "inventory_history",
    metadata,
    _player(),
    _text("request_id", key=True),
    _integer("n", None, key=True),
    _text("action"),
    _text("item_id"),
    _integer("delta"),
    _integer("stock"),
    _at_least("stock"),
    comment="Every change of an item; delta and stock count the item itself; stock is what it left.",
)

player_openings = sa.Table(
    "player_openings",
    metadata,
    _player(),
    _integer("gold"),
    _integer("diamonds"),
    _text("stock", default="{}"),
    comment="What a player owned when the journals began: stock is JSON text {item id: quantity}.",
)

PLAYER_STATE = (
    users,
    user_inventory,
    user_equipment,
    user_equipment_presets,
    user_mail,
    user_quests,
    user_milestones,
    user_missions,
    user_stages,
    user_tournaments,
)
OTHER_STATE = (user_credentials, live_games, key_values, legacy_rows, legacy_schema)
JOURNALS = (player_openings, action_receipts, currency_ledger, inventory_history)
ALL = (*PLAYER_STATE, *OTHER_STATE, *JOURNALS)
BY_NAME = {table.name: table for table in ALL}
KEYS = {table.name: tuple(column.name for column in table.primary_key) for table in ALL}


def game_columns(table: sa.Table) -> list[sa.Column[object]]:
    """Return the columns that a command reads and writes: all but those that only rebuild the legacy row."""
    return [column for column in record_columns(table) if not column.info.get("codec")]


def record_columns(table: sa.Table) -> list[sa.Column[object]]:
    """Return the columns of a record: all but the head of the player's receipts, which only the Postgres store has."""
    return [column for column in table.columns if not column.info.get("head")]
