"""Finds the lines of an env file that set nothing: dotenv passes over them, and a setting is missing unnoticed."""

from __future__ import annotations

import io

from dotenv.parser import parse_stream

EXPECTED = "lines of the form NAME=VALUE"
REMEDY = (
    "Correct these lines: NAME=VALUE, a value with blanks or # in quotes that are closed; a comment begins with #."
    " Their text is not shown, for it may hold a secret."
)
MOST_LISTED = 20


def malformed(text: str) -> str:
    """Name by their numbers all lines that can't be read, in a clause that shows none of them; "" if there is none."""
    bindings = parse_stream(io.StringIO(text))
    numbers = [str(one.original.line) for one in bindings if one.error or (one.key is not None and one.value is None)]
    listed = ", ".join(numbers[:MOST_LISTED])
    if (rest := len(numbers) - MOST_LISTED) > 0:
        listed += f" and {rest:,} more"
    return f"another form in line{'s' if len(numbers) > 1 else ''} {listed}" if numbers else ""
