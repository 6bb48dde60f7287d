"""Tests how tasks print: what could not be written is refused before the work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.console.output import outcome


@pytest.mark.parametrize("path", ["no-such-folder/out.json", "."])
def test_a_result_that_could_not_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    begun = []
    with pytest.raises(SystemExit) as ended, outcome(str(tmp_path / path)):
        begun.append(True)
    assert (ended.value.code, begun) == (2, [])
    assert "expected a file to write for --json" in capsys.readouterr().err


def test_a_folder_under_the_working_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with outcome("out/of/it.json") as out:
        out.json({"done": 1})
    assert json.loads((tmp_path / "out/of/it.json").read_text()) == {"done": 1}
