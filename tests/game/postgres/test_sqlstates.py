"""What the server's error says, by its SQLSTATE: try again, no game here, or a defect that nobody repeats."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from psycopg import sql

from db import ops
from db.samples import builders
from game.errors import StoreUnavailable
from game.rows import compare
from game.rules.commands import ClaimMail
from tests.game.places import PostgresPlace
from tests.game.playing_on_stores import Failing, ask, lost

ROLLED_BACK = ("40001", "40P01", "55P03", "57014", "25006")
UNREACHABLE = ("08000", "08006", "53000", "53300", "57P01", "57P02", "57P03")
NOT_MIGRATED = ("3F000", "42P01", "3D000", "42703")
DEFECTS = ("22003", "23505", "23514", "42501", "XX000", "40002", "25P02")


@pytest.fixture
def raising(postgres: PostgresPlace) -> Failing:
    """A store on which every receipt ends in the error of the table `errors`; it counts the attempts."""
    postgres.put(builders.player("hana", mail={"m1": {"gold": 50}}))
    return Failing(postgres.store, "never", lost())


def raises(place: PostgresPlace, sqlstate: str) -> None:
    function = sql.SQL(
        "create function fails() returns trigger language plpgsql as $$ begin"
        " raise exception 'of the tests' using errcode = {}; end $$"
    ).format(sql.Literal(sqlstate))
    with ops.connect(place.database.owner) as conn:
        conn.execute(function)
        conn.execute(b"create trigger fails before insert on action_receipts for each row execute function fails()")


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [*((state, "tx_rolled_back") for state in ROLLED_BACK), *((state, "db_unreachable") for state in UNREACHABLE)],
)
def test_it_is_tried_four_times(postgres: PostgresPlace, raising: Failing, sqlstate: str, code: str) -> None:
    raises(postgres, sqlstate)
    with pytest.raises(StoreUnavailable, match=f"the last with {code}: {sqlstate} of the tests"):
        ask(raising, ClaimMail("m1"))
    assert raising.attempts == 4


@pytest.mark.parametrize("sqlstate", NOT_MIGRATED)
def test_it_is_said_that_there_is_no_game(postgres: PostgresPlace, raising: Failing, sqlstate: str) -> None:
    raises(postgres, sqlstate)
    with pytest.raises(StoreUnavailable, match="the database is not migrated: of the tests; run invoke migrate"):
        ask(raising, ClaimMail("m1"))
    assert raising.attempts == 1


@pytest.mark.parametrize("sqlstate", DEFECTS)
def test_it_goes_on_as_it_is_and_nothing_is_kept(postgres: PostgresPlace, raising: Failing, sqlstate: str) -> None:
    before = postgres.store.read("hana")
    raises(postgres, sqlstate)
    with pytest.raises(sa.exc.DBAPIError, match="of the tests") as caught:
        ask(raising, ClaimMail("m1"))
    assert getattr(caught.value.orig, "sqlstate", None) == sqlstate
    assert raising.attempts == 1
    after = postgres.store.read("hana")
    assert before is not None
    assert after is not None
    assert compare(before, after) == {}
