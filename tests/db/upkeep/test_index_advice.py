"""An index that is missing is advised with the statement's cost before and after; where it stands, nothing is said."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import ops
from db.upkeep import advice
from game.session import Connection
from tests.db.monitor.watched import Watched, own_watched

PLANT = """
create table plant (id bigint generated always as identity primary key, user_id text not null, kind text not null);
insert into plant (user_id, kind) select 'user-' || n, 'kind-' || n % 7 from generate_series(1, 60000) n;
analyze plant
"""
RUN = "select id, kind from plant where user_id = %s and kind = %s"
CATALOG = "select string_agg(indexrelid::regclass::text, ' ') from pg_index where indrelid = 'plant'::regclass"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("advised")
    with own_watched(folder, {"shared_preload_libraries": "pg_stat_statements"}) as own:
        if not own.has_statements:
            pytest.skip("this server's programs come without pg_stat_statements")
        if not own.value("select count(*) from pg_available_extensions where name = 'hypopg'"):
            pytest.skip("hypopg is not installed beside this server: apt has postgresql-15-hypopg")
        yield own


@pytest.fixture
def planted(own: Watched) -> Iterator[Watched]:
    own.run("create extension if not exists hypopg schema public")
    with ops.connect(own.database.owner) as conn:
        conn.execute("drop table if exists plant")
        conn.execute(PLANT.encode())
        own.run("select public.pg_stat_statements_reset()")
        _play(conn)
        yield own
        conn.execute("drop table plant")


def _play(conn: Connection) -> None:
    for n in range(advice.LEAST_CALLS + 5):
        conn.execute(RUN, (f"user-{n}", "kind-1"), prepare=True)


@pytest.mark.plan(33)
def test_a_missing_index_is_advised_with_its_cost_and_only_written_down(planted: Watched, tmp_path: Path) -> None:
    (advised,) = advice.advise(planted.env)
    assert (advised.table, advised.columns) == ("plant", ("user_id", "kind"))
    assert advised.after < advised.before / 10
    (path,) = advice.write(planted.env, [advised], tmp_path)
    text = path.read_text()
    ast.parse(text)
    statement = "CREATE INDEX CONCURRENTLY plant_user_id_kind_idx ON plant USING btree (user_id, kind)"
    assert statement in text
    assert "autocommit_block" in text
    assert f"{advised.before:,.0f} without it, {advised.after:,.0f} with it" in text
    with ops.connect(planted.database.owner) as conn:
        assert conn.execute(CATALOG).fetchone() == ("plant_pkey",)
        conn.execute(statement)


def test_where_the_index_stands_nothing_is_advised(planted: Watched) -> None:
    with ops.connect(planted.database.owner) as conn:
        conn.execute("create index on plant (user_id)")
        _play(conn)
    assert advice.advise(planted.env) == []


def test_without_hypopg_it_says_so(planted: Watched) -> None:
    planted.run("drop extension hypopg")
    with pytest.raises(advice.Unavailable, match="the extension hypopg is not created in this database"):
        advice.advise(planted.env)
