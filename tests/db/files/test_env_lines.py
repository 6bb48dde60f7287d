"""A malformed env file: all of its bad lines are named at once, by their numbers, and never by what they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from db import service_file
from db.errors import Refusal
from db.files import private
from game import env_file, settings
from game.errors import BadSettings

SECRET = "s3cr3t-of-the-test"
TEXT = f"""# The settings.
GOOD='a value' # with a comment
TOKEN_SECRET {SECRET}
export ALSO_GOOD="{SECRET}"
CHANCE_SECRET="{SECRET}
={SECRET}
{SECRET}
EMPTY=
"""
WRONG = "another form in lines 3, 5, 6, 7"


def by_settings(path: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.ENV_FILE, str(path))
        with pytest.raises(BadSettings) as refused:
            settings.load()
    return str(refused.value)


def refused(read: Callable[[Path], object]) -> Callable[[Path], str]:
    def by(path: Path) -> str:
        with pytest.raises(Refusal) as refused:
            read(path)
        return str(refused.value)

    return by


READERS = {
    "the tools' env files": refused(private.variables),
    "the service's, for the tools": refused(service_file.values),
    "the service's": by_settings,
}


@pytest.mark.parametrize("reader", READERS)
def test_every_bad_line_is_named_by_its_number_alone(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "some.env"
    path.write_text(TEXT)
    message = READERS[reader](path)
    assert WRONG in message
    assert str(path) in message
    assert SECRET not in message


def test_lines_that_can_be_read_are(tmp_path: Path) -> None:
    path = tmp_path / "some.env"
    path.write_text("A=1\r\nexport B='two\nlines'\n\n  # C\nD=\nE=https://host/#part\n")
    wanted = {"A": "1", "B": "two\nlines", "D": "", "E": "https://host/#part"}
    assert private.variables(path) == service_file.values(path) == wanted


def test_of_many_the_first_are_listed() -> None:
    listed = env_file.malformed("word\n" * 30)
    assert listed.endswith("19, 20 and 10 more")
    assert env_file.malformed("word\n") == "another form in line 1"
    assert env_file.malformed("") == ""
