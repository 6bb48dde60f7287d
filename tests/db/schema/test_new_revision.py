"""The next revision's file is generated from the tables, formatted, linted and applied, until nothing is left to do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import ops
from db.errors import Refusal
from db.schema import migrate, new_revision, revisions
from db.schema.new_revision import NewRevision
from game import tables as game_tables
from game.urls import PostgresUrl
from harness.databases import Database
from tests.fixtures.revisions import write
from tests.fixtures.squawk import squawk

TABLES = game_tables.metadata
HEAD = revisions.read().head
ROUNDS = 4
Change = Callable[[sa.MetaData], object]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Has game/tables.py say something else: the change is made to a copy of its tables."""

    def apply(edit: Change) -> None:
        copy = sa.MetaData(naming_convention=game_tables.metadata.naming_convention)
        for table in TABLES.sorted_tables:
            table.to_metadata(copy)
        edit(copy)
        monkeypatch.setattr(game_tables, "metadata", copy)
        named = [table for table in copy.sorted_tables if table.info or table.name in TABLES.tables]
        monkeypatch.setattr(game_tables, "ALL", tuple(named))

    return apply


def column(*arguments: object, **options: object) -> Change:
    return lambda tables: tables.tables["users"].append_column(sa.Column("luck", *arguments, **options))  # type: ignore[arg-type]


def index(*columns: object, **options: object) -> Change:
    def edit(tables: sa.MetaData) -> None:
        users = tables.tables["users"]
        parts = [users.c[one] if isinstance(one, str) else one for one in columns]
        sa.Index("luck_idx", *parts, _table=users, **options)  # type: ignore[arg-type]

    return edit


def constraint(made: Callable[[], sa.Constraint], table: str = "users") -> Change:
    return lambda tables: tables.tables[table].append_constraint(made())


def altered(name: str, **attributes: object) -> Change:
    def edit(tables: sa.MetaData) -> None:
        for attribute, value in attributes.items():
            setattr(tables.tables["users"].c[name], attribute, value)

    return edit


def without(kind: str, name: str, table: str = "users") -> Change:
    def edit(tables: sa.MetaData) -> None:
        changed = tables.tables[table]
        if kind == "column":
            changed._columns.remove(changed.c[name])  # type: ignore[attr-defined]  # SQLAlchemy has no public way
        elif kind == "check":
            changed.constraints = {one for one in changed.constraints if str(one.name) != name}
        else:
            tables.remove(changed)

    return edit


def check_replaced(tables: sa.MetaData) -> None:
    without("check", "users_gold_check")(tables)
    tables.tables["users"].append_constraint(sa.CheckConstraint("gold >= 1", name="gold"))


def wishes(tables: sa.MetaData, *, listed: bool = True) -> None:
    sa.Table(
        "user_wishes",
        tables,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("n", sa.BigInteger),
        sa.Column("said", sa.Text, server_default="it's : so 100%"),
        sa.CheckConstraint("n > 0", name="n"),
        sa.UniqueConstraint("user_id", "n"),
        sa.Index("user_wishes_n_idx", "n"),
        info={"listed": True} if listed else {},
    )


def several(*changes: Change) -> Change:
    return lambda tables: [one(tables) for one in changes]


MOOD = sa.Enum("glad", "sad", name="mood")
MADE: dict[str, Change] = {
    "a number": column(sa.BigInteger, server_default="0", nullable=False),
    "a text that may be null": column(sa.Text),
    "a flag": column(sa.Boolean, server_default=sa.false(), nullable=False),
    "a text with signs": column(sa.Text, server_default='it\'s :so "100%" \\ a::b', nullable=False),
    "a long text": column(sa.Text, server_default="words and more " * 12, nullable=False),
    "a time": column(sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    "an array": column(sa.ARRAY(sa.Text), server_default="{}", nullable=False),
    "an enum": column(MOOD, server_default="glad", nullable=False),
    "a column with its check": several(
        column(sa.BigInteger, server_default="0", nullable=False),
        constraint(lambda: sa.CheckConstraint("luck >= 0", name="luck")),
    ),
    "a check": constraint(lambda: sa.CheckConstraint("gold < 9000000000000", name="gold_most")),
    "a check of words": constraint(
        lambda: sa.CheckConstraint(f"league in ({', '.join(repr('league ' * n) for n in range(9))})", name="league")
    ),
    "a reference": several(column(sa.Text), constraint(lambda: sa.ForeignKeyConstraint(["luck"], ["users.id"]))),
    "a unique value": several(column(sa.Text), constraint(lambda: sa.UniqueConstraint("luck"))),
    "an index": index("gold"),
    "a unique index": index("league", "gold", unique=True),
    "an index of some": index("gold", postgresql_where=sa.text("gold > 100 and league <> 'a:b'")),
    "an index of an expression": index(sa.text("lower(league)"), "id"),
    "two indexes and a column": several(
        column(sa.BigInteger),
        index("luck"),
        lambda tables: sa.Index("mail_idx", tables.tables["user_mail"].c.expires_at),
    ),
    "another default": altered("gold", server_default=sa.DefaultClause("5")),
    "a table": wishes,
}

BY_HAND: dict[str, tuple[Change, str]] = {
    "a value that rows lack": (column(sa.BigInteger, nullable=False), "column users.luck bigint not null"),
    "another type": (altered("gold", type=sa.Numeric()), "users.gold num"),
    "null no more": (altered("league", nullable=False), "column users.league text not null"),
    "a generated value": (column(sa.BigInteger, sa.Computed("gold + 1", persisted=True)), "users.luck .* generated"),
    "no default any more": (altered("gold", server_default=None), "column users.gold bigint not null"),
    "null from now on": (altered("gold", nullable=True), "column users.gold bigint default 0"),
    "a check with other words": (check_replaced, "constraint users_gold_check on users: CHECK"),
}

GONE: dict[str, tuple[Change, str]] = {
    "a column": (without("column", "league"), "column users.league"),
    "a check": (without("check", "users_gold_check"), "constraint users_gold_check users"),
    "a table": (without("table", "", "live_games"), "table live_games"),
}


def make(url: PostgresUrl, folder: Path, message: str) -> NewRevision:
    return new_revision.make(url, environment="test", message=message, folder=folder)


def apply(url: PostgresUrl, folder: Path) -> list[str]:
    return migrate.migrate(url, environment="test", service_role=None, history=revisions.read(folder)).applied


def ruff(*arguments: str, folder: Path) -> None:
    root = Path(migrate.__file__).parents[2]
    command = [Path(sys.executable).with_name("ruff"), *arguments, "--config", root / "pyproject.toml", folder]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.plan(3)
@pytest.mark.parametrize("name", MADE)
def test_a_change_is_written_until_nothing_is_left_and_each_file_passes(
    database: Database, tmp_path: Path, change: Callable[[Change], None], name: str
) -> None:
    change(MADE[name])
    made: list[NewRevision] = []
    for count in range(ROUNDS):
        made.append(make(database.owner, tmp_path, f"{name}, part {count}"))
        if made[-1].path is None:
            break
        assert apply(database.owner, tmp_path) == [f"{int(HEAD) + count + 1:04}"]
    assert made[-1] == NewRevision()
    assert len(made) > 1
    assert migrate.drift(database.owner) == []
    ruff("format", "--check", folder=tmp_path)
    ruff("check", folder=tmp_path)
    for revision in revisions.read(tmp_path).pending(HEAD):
        assert squawk(revision) == ""
    announced = [statement for one in made for statement in one.later]
    written = [statement for one in made for statement in one.statements]
    assert set(announced) <= set(written)


def test_what_is_made_is_made_the_same_again(
    database: Database, tmp_path: Path, change: Callable[[Change], None]
) -> None:
    change(MADE["a table"])
    texts = []
    for _ in range(2):
        path = make(database.owner, tmp_path, "Wishes of players").path
        assert path == tmp_path / f"{int(HEAD) + 1:04}_wishes_of_players.py"
        texts.append(path.read_text())
        path.unlink()
    assert texts[0] == texts[1]
    assert texts[0].startswith('"""Wishes of players."""\n')


@pytest.mark.parametrize("name", BY_HAND)
def test_what_players_could_not_bear_is_left_to_its_author_by_name(
    database: Database, tmp_path: Path, change: Callable[[Change], None], name: str
) -> None:
    edit, line = BY_HAND[name]
    change(edit)
    with pytest.raises(Refusal, match=line):
        make(database.owner, tmp_path, name)
    assert list(tmp_path.iterdir()) == []
    change(several(edit, MADE["an index"]))
    assert re.search(line, "; ".join(make(database.owner, tmp_path, name).by_hand))


def test_a_label_more_of_an_enum_is_left_to_its_author(
    database: Database, tmp_path: Path, change: Callable[[Change], None]
) -> None:
    change(MADE["an enum"])
    make(database.owner, tmp_path, "mood")
    apply(database.owner, tmp_path)
    change(column(sa.Enum("glad", "so-so", "sad", name="mood"), server_default="glad", nullable=False))
    with pytest.raises(Refusal, match="label so-so of type mood after glad"):
        make(database.owner, tmp_path, "more moods")


@pytest.mark.parametrize("name", GONE)
def test_what_the_tables_have_no_more_is_not_dropped_by_a_guess(
    database: Database, tmp_path: Path, change: Callable[[Change], None], name: str
) -> None:
    edit, line = GONE[name]
    change(edit)
    with pytest.raises(Refusal, match=f"game/tables.py does not name; found .*{line}"):
        make(database.owner, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_tables_that_the_server_does_not_take_are_refused(
    database: Database, tmp_path: Path, change: Callable[[Change], None]
) -> None:
    change(constraint(lambda: sa.CheckConstraint("no_such_column > 0", name="x")))
    with pytest.raises(Refusal, match=r'game/tables\.py: .*column "no_such_column" does not exist'):
        make(database.owner, tmp_path, "x")


def test_a_table_that_no_list_names_is_refused(
    database: Database, tmp_path: Path, change: Callable[[Change], None]
) -> None:
    change(lambda tables: wishes(tables, listed=False))
    with pytest.raises(Refusal, match="user_wishes in PLAYER_STATE, OTHER_STATE or JOURNALS"):
        make(database.owner, tmp_path, "wishes")


def test_nothing_to_do_makes_nothing(database: Database, tmp_path: Path) -> None:
    assert make(database.owner, tmp_path, "nothing") == NewRevision()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("message", ["", "  ", "행운", "...", 'say "it"', "a\\b", "x" * 73, "bell\a"])
def test_a_message_that_names_nothing_is_refused(database: Database, tmp_path: Path, message: str) -> None:
    with pytest.raises(Refusal, match="--message"):
        make(database.owner, tmp_path, message)


def test_a_name_that_is_taken_is_refused(database: Database, tmp_path: Path, change: Callable[[Change], None]) -> None:
    change(MADE["a number"])
    write(tmp_path, f"{int(HEAD) + 1:04}", "select 1").rename(tmp_path / f"{int(HEAD) + 1:04}_add_luck.py")
    with pytest.raises(Refusal, match=r"a name that no revision has; found .*_add_luck.py"):
        make(database.owner, tmp_path, "Add luck!")


def test_a_database_that_is_not_at_the_head_is_refused(
    database: Database, blank: PostgresUrl, tmp_path: Path, change: Callable[[Change], None]
) -> None:
    change(MADE["a number"])
    ops.prepare(blank, "test")
    with pytest.raises(Refusal, match=r"no revision applied.*\n.*invoke migrate"):
        make(blank, tmp_path, "luck")
    write(tmp_path, f"{int(HEAD) + 1:04}", "select 1")
    with pytest.raises(Refusal, match=f"at {HEAD}.*\n.*invoke migrate"):
        make(database.owner, tmp_path, "luck")


def test_a_database_that_was_changed_by_hand_is_refused(
    database: Database, tmp_path: Path, change: Callable[[Change], None]
) -> None:
    change(MADE["a number"])
    with ops.connect(database.owner) as conn:
        conn.execute("alter table users add column luck bigint default 0 not null")
    with pytest.raises(Refusal, match=r"unexpected: column users.luck bigint not null default 0"):
        make(database.owner, tmp_path, "luck")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.plan(31)
def test_migrate_refuses_a_column_that_no_revision_makes(
    database: Database, tmp_path: Path, change: Callable[[Change], None]
) -> None:
    change(MADE["a number"])
    with pytest.raises(Refusal, match=r"none that makes users.luck.*\n.*invoke revision --env development"):
        apply(database.owner, tmp_path)
    make(database.owner, tmp_path, "luck")
    assert apply(database.owner, tmp_path) == [f"{int(HEAD) + 1:04}"]
