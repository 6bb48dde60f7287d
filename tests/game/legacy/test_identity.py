"""No copy of a legacy file shares its identity, wherever it comes to lie; the file itself keeps it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from db.samples import builders
from game.errors import StoreUnavailable
from game.legacy import identity
from game.rules.commands import decode
from tests.game.places import LegacyPlace
from tests.game.playing_on_stores import ask


def test_a_file_keeps_its_identity_whatever_is_written_to_it(legacy: LegacyPlace) -> None:
    before = identity.of(legacy.path)
    legacy.put(builders.player("hana", mail={"m1": {"gold": 1}}))
    ask(legacy.store, decode("claim_mail", {"mail": "m1"}))
    legacy.fence()
    legacy.lift()
    assert identity.of(legacy.path) == before == legacy.store.status().identity


def test_a_copy_has_another_one_also_in_the_place_of_the_file(legacy: LegacyPlace) -> None:
    before, copy = identity.of(legacy.path), legacy.path.with_name("copy.db")
    shutil.copy2(legacy.path, copy)
    assert identity.of(copy) != before
    copy.replace(legacy.path)
    assert identity.of(legacy.path) != before


def test_a_link_names_the_file_and_a_second_hard_link_another_store(legacy: LegacyPlace) -> None:
    before = identity.of(legacy.path)
    legacy.path.with_name("link.db").symlink_to(legacy.path)
    assert identity.of(legacy.path.with_name("link.db")) == before
    legacy.path.with_name("hard.db").hardlink_to(legacy.path)
    assert identity.of(legacy.path.with_name("hard.db")) != before


def test_a_file_that_is_not_there_has_none(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file"):
        identity.of(tmp_path / "nowhere.db")
