"""What one process learns of documents every process of the service knows, and the next one too."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from db.samples import builders
from game.legacy import digests
from game.legacy.codec.mapping import USERS
from game.legacy.digests import DIGEST_BYTES, PLACES, DigestSet, shared_memory
from game.legacy.store import LegacyStore
from game.rules.commands import ClaimMail
from tests.game.legacy.test_legacy_store import HANA
from tests.game.places import LegacyPlace
from tests.game.playing_on_stores import ask
from tests.game.service.running import Running, eventually

UNNEEDED = {
    column
    for group in USERS.groups
    if group.holds and group.tables.isdisjoint(ClaimMail.tables)
    for column in group.columns
}


@pytest.fixture
def memory() -> Iterator[int]:
    made = shared_memory()
    yield made
    os.close(made)


@pytest.fixture
def hana(legacy: LegacyPlace) -> LegacyPlace:
    legacy.put(builders.player("hana", **HANA))
    return legacy


def numbered(number: int) -> bytes:
    """Return a digest whose place is the number's."""
    return number.to_bytes(4, "big") + os.urandom(DIGEST_BYTES - 4)


@pytest.mark.parametrize("of_its_own", [True, False])
def test_it_has_what_was_added_and_nothing_else(memory: int, *, of_its_own: bool) -> None:
    known = DigestSet(None if of_its_own else memory)
    one, other = known.digest(b"a mail box"), known.digest(b"another one")
    assert one not in known
    known.add(one)
    assert one in known
    assert other not in known


def test_the_newer_of_two_takes_the_place_and_all_other_places_stay() -> None:
    known = DigestSet()
    first, last = numbered(0), numbered(PLACES - 1)
    for digest in (first, last, newer := numbered(PLACES)):
        known.add(digest)
    assert [digest in known for digest in (first, last, newer)] == [False, True, True]


def test_what_two_wrote_at_once_is_the_digest_of_nothing() -> None:
    known, one, other = DigestSet(), numbered(7), numbered(7)
    known.add(one[:9] + other[9:])
    assert one not in known
    assert other not in known


def test_sets_with_the_same_memory_know_the_same(memory: int) -> None:
    one, other = DigestSet(memory), DigestSet(memory)
    one.add(one.digest(b"a mail box"))
    assert other.digest(b"a mail box") in other


def test_other_code_finds_nothing_of_what_ours_concluded(
    memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart may bring new code, which may see a document otherwise."""
    monkeypatch.setattr(digests, "CODE", tmp_path)
    module = tmp_path / "rules.py"
    module.write_text("HELD = 1")
    ours = DigestSet(memory)
    ours.add(ours.digest(b"a mail box"))
    same = DigestSet(memory)
    assert same.digest(b"a mail box") in same
    module.write_text("HELD = 10")
    theirs = DigestSet(memory)
    assert theirs.digest(b"a mail box") not in theirs


@pytest.mark.skipif(sys.platform != "linux", reason="the test finds the memory by its name in Linux's /proc")
def test_every_process_of_the_service_shares_them_and_a_restart_keeps_them(
    hana: LegacyPlace, serve: Callable[..., Running], read: list[set[str]]
) -> None:
    running = serve(hana.url, processes=2)
    running.ready()
    old = running.children()
    assert running.act("m1", "r1").is_success
    assert [spared(process, hana, read) for process in old] == [True, True]
    running.process.send_signal(signal.SIGHUP)
    new = eventually(lambda: renewed(running, old))
    assert [spared(process, hana, read) for process in new] == [True, True]


def renewed(running: Running, old: list[psutil.Process]) -> list[psutil.Process]:
    new = running.children()
    assert len(new) == len(old)
    assert not set(new) & set(old)
    return new


def spared(process: psutil.Process, hana: LegacyPlace, read: list[set[str]]) -> bool:
    """Return True if a store with the memory of the process decodes no document that the player's command spares."""
    named = (one for one in Path(f"/proc/{process.pid}/fd").iterdir() if "memfd:digests" in str(one.readlink()))
    shared, *_of_the_map = named
    memory = os.open(shared, os.O_RDWR)
    with closing(LegacyStore(hana.path, digests=memory)) as store:
        ask(store, ClaimMail("m1"), "r1")
    os.close(memory)
    return UNNEEDED.isdisjoint(read.pop())
