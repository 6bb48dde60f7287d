"""The script of `prepare --sql` makes a database as `prepare` does; it holds no password and changes no other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from db import ops
from db.ops import script
from db.ops.checkout import Checkout
from db.servers import Server
from game.urls import PostgresUrl
from tests.fixtures.own_roles import OwnDatabase, own_database

WHOSE = Checkout("an-id", "a-host", "/a 'folder' of a checkout")
CATALOG = """
select 'relation', c.relname, c.relkind::text, c.relacl::text,
    (select string_agg(format('%s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attnum)
     from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = c.oid and a.attnum > 0)
from pg_class c where c.relnamespace = 'ops'::regnamespace
union all select 'constraint', conname, contype::text, pg_get_constraintdef(oid), '' from pg_constraint
where connamespace = 'ops'::regnamespace
union all select 'function', proname, proacl::text, prosrc, proconfig::text || prosecdef::text from pg_proc
where pronamespace = 'ops'::regnamespace
union all select 'schema', nspname, nspacl::text, (pg_get_userbyid(nspowner) <> '')::text, '' from pg_namespace
where nspname = 'ops'
order by 1, 2, 3, 4
"""
ROWS = "select to_jsonb(e) - 'prepared_at' - 'identity', p.phase, p.run from ops.environment e, ops.phase p"


@pytest.fixture
def own(server: Server) -> Iterator[OwnDatabase]:
    with own_database(server) as own:
        yield own


def psql(server: Server, own: OwnDatabase, text: str) -> subprocess.CompletedProcess[str]:
    url = own.owner
    argv = ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--host", url.host, "--port", str(url.port)]
    return subprocess.run(
        [*argv, "--username", str(url.user), "--dbname", url.dbname, "--file", "-"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "PGPASSWORD": str(url.password), "PGSSLMODE": "prefer"},
    )


def made(url: PostgresUrl) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return the catalog of `ops`, with the owner's name left out, and its rows."""
    with ops.connect(url) as conn:
        catalog = [
            tuple(str(value).replace(str(url.user), "OWNER") for value in row)
            for row in conn.execute(CATALOG).fetchall()
        ]
        return catalog, conn.execute(ROWS).fetchall()


@pytest.mark.parametrize("whose", [None, WHOSE])
def test_the_script_does_what_prepare_does_also_when_it_is_run_again(
    server: Server, own: OwnDatabase, whose: Checkout | None
) -> None:
    text = script.text(own.owner, own.service, "staging", whose)
    for _ in range(2):
        done = psql(server, own, text)
        assert done.returncode == 0, done.stderr
    by_psql = made(own.owner)
    with own_database(server) as another:
        ops.prepare(another.owner, "staging", service=another.service, whose=whose)
        assert by_psql == made(another.owner)
    before = made(own.owner)
    ops.prepare(own.owner, "staging", service=own.service, whose=whose)
    assert made(own.owner) == before


def test_it_holds_no_password(own: OwnDatabase) -> None:
    owner, service = (url.with_(password="planted-word") for url in (own.owner, own.service))
    assert "planted-word" not in script.text(owner, service, "staging", WHOSE)


def test_a_database_of_another_environment_is_left_as_it_is(server: Server, own: OwnDatabase) -> None:
    ops.prepare(own.owner, "development")
    before = made(own.owner)
    done = psql(server, own, script.text(own.owner, own.service, "staging", None))
    assert done.returncode == 3
    assert "the database is marked for another environment than staging" in done.stderr
    assert made(own.owner) == before
