"""Writes all that `prepare` does as a script for psql, to be reviewed before somebody runs it. It holds no password."""

from __future__ import annotations

from psycopg import sql

from db.ops import control, locks, schema
from db.ops.checkout import Checkout
from game.urls import PostgresUrl

ROLE = """\
do $role$
begin
    if not exists (select from pg_roles where rolname = {name}) then
        create role {role} login;
    end if;
end
$role$;
"""
GUARD = """\
do $guard$
begin
    if exists (select from ops.environment where name <> {environment}) then
        raise exception 'the database is marked for another environment than %', {environment};
    end if;
end
$guard$;
"""


def text(owner: PostgresUrl, service: PostgresUrl, environment: str, whose: Checkout | None) -> str:
    """Return the script: the roles if they are missing, the schema `ops`, the marker. Run again, it changes nothing."""
    roles = [
        sql.SQL(ROLE).format(name=role, role=sql.Identifier(role)).as_string(None)
        for role in dict.fromkeys((owner.user, service.user))
        if role
    ]
    marks = [f"{statement.as_string(None)};" for statement in control.marking(environment, whose)]
    return "\n".join(
        (
            f"-- What `invoke prepare --env {environment}` does, for {owner.redacted}.",
            "-- psql --set ON_ERROR_STOP=1 --dbname DATABASE --file THIS, by the role of target_direct.",
            "-- A role that is made here has no password yet: \\password ROLE asks for one.",
            f"-- The service's rights on the game's tables come with them: invoke migrate --env {environment} --sql",
            "begin;",
            f"select pg_advisory_xact_lock({locks.LOCK_CLASS}, {locks.PREPARE_LOCK});",
            *roles,
            schema.TABLES.strip(),
            sql.SQL(GUARD).format(environment=environment).as_string(None),
            schema.FUNCTIONS.strip(),
            *marks,
            "commit;",
        )
    )
