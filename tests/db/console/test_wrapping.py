"""Text is wrapped so that nothing is lost, nothing is too wide, and names are broken where their parts meet."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from db.console.wrapping import wrap

URL = (
    "postgresql://sudamr_owner@staging-db.example.net:5432/sudamr?schema=game&sslmode=verify-full"
    "&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
)


def test_a_url_is_broken_before_its_parameters() -> None:
    assert wrap(URL, 64) == [
        "postgresql://sudamr_owner@staging-db.example.net:5432/sudamr",
        "?schema=game&sslmode=verify-full",
        "&sslrootcert=/etc/ssl/certs/ca-certificates.crt",
    ]


def test_a_word_that_has_room_in_a_line_is_never_broken() -> None:
    assert wrap("invoke status --env production", 20) == ["invoke status --env", "production"]


def test_a_command_that_has_room_in_a_line_is_never_broken() -> None:
    text = "Make one: invoke seed --legacy var/development.db --players 5"
    assert wrap(text, 54) == ["Make one:", "invoke seed --legacy var/development.db --players 5"]
    assert wrap("  start it: invoke serve --env development", 30) == ["  start it:", "invoke serve --env development"]


@pytest.mark.parametrize("width", [20, 54, 80])
@given(text=st.text(alphabet=" abc/?&=.가나\n-", max_size=300))
def test_nothing_is_lost_and_no_line_is_too_wide(width: int, text: str) -> None:
    lines = wrap(text, width)

    assert max(map(cell_len, lines)) <= width
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)
    words = [word for word in text.split() if cell_len(word) <= width]
    assert all(any(word in line for line in lines) for word in words)
