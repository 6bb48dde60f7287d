"""Processes of another version run that version's code; and what they raise comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.errors import Refusal
from db.schema import migrate
from harness.bench import versions
from harness.bench.versions import Version


def refuse() -> None:
    raise Refusal("a word", "none", where="here", do="Say one.")


def test_a_newer_version_is_another_tree_with_a_revision_more(tmp_path: Path) -> None:
    newer = versions.newer(tmp_path / "newer")
    assert int(newer.run(migrate.head)) == int(migrate.head()) + 1
    assert newer.run(versions.folder_of_code) == tmp_path / "newer"
    assert Version().run(migrate.head) == migrate.head()


def test_what_a_process_of_a_version_raises_is_raised_here() -> None:
    with pytest.raises(Refusal) as raised:
        Version().run(refuse)
    assert (raised.value.where, raised.value.do) == ("here", "Say one.")
