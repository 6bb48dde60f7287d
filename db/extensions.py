"""What extensions keep in a schema: it is theirs, so the game neither fences, dumps, compares nor moves it."""

from __future__ import annotations


def not_an_extensions(catalog: str, oid: str) -> str:
    """Give the SQL condition that an object is no member of an extension.

    catalog: the system table that the object is a row of; oid: the SQL expression of its oid; never input of a user.
    """
    return (
        f"not exists (select from pg_depend member where member.classid = '{catalog}'::regclass"
        f" and member.objid = {oid} and member.deptype = 'e')"
    )
