"""Written back as a whole, or by rounds: whatever a row holds and whatever is done, both ways leave the same file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from db import transfer
from db.errors import ToolError
from harness.databases import Database, Databases
from tests.db.legacy.unusual_files import UnusualFile, unusual_files
from tests.db.transfer.live_back.carrying import cut_over, differences, play, rows_of, session
from tests.db.transfer.live_back.played import WRITES
from tests.db.transfer.transferring import PASS

EXAMPLES = settings().max_examples // 8


@pytest.fixture(scope="module")
def one(databases: Databases) -> Iterator[Database]:
    """A fenced database for many examples."""
    clone = databases.clone(fenced=True)
    yield clone
    databases.drop(clone)


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(file=unusual_files(), done=st.lists(st.sampled_from(sorted(WRITES)), min_size=1, max_size=4, unique=True))
def test_an_unusual_file_is_the_same_by_both_ways(
    file: UnusualFile,
    done: list[str],
    one: Database,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    databases.reset(one)
    source = tmp_path_factory.mktemp("ways") / "unusual.db"
    file.write(source)
    try:
        cut_over(one, source)
    except ToolError:
        assume(False)
    whole = source.with_name("whole.db")
    shutil.copyfile(source, whole)
    with session(one, source) as live:
        assert live.begin() is None
        for what in done:
            try:
                play(one, *WRITES[what])
            except psycopg.DatabaseError:  # The rows of this example do not allow it.
                continue
            if what < "m":
                live.round()
        try:
            transfer.write_back(one.owner, whole, pass_token=PASS)
        except ToolError as error:
            with pytest.raises(type(error)):
                live.round()
            return
        live.round()
    assert rows_of(source) == rows_of(whole)
    assert differences(one, source) == ()
