"""An option of a task: how it is shown, which values it takes, and the range of a number."""

from __future__ import annotations

from typing import Any

from invoke.parser.argument import Argument

from db.errors import Refusal

NOTHING_BEGUN = "Nothing was begun."
SHOWN_CHARACTERS = 40
MOST = 10_000_000
"""The largest number of players, rounds or writes: a larger one is a typing error."""

METAVARS = {
    "accept-loss": "WRITES",
    "certificate": "FILE",
    "clients": "FILE",
    "confirm": "NAME",
    "drop": "SCHEMA",
    "env": "NAME",
    "from": "FILE",
    "into": "FILE",
    "json": "PATH",
    "legacy": "FILE",
    "message": "TEXT",
    "of": "STORE",
    "path": "FOLDER",
    "plan": "FILE",
    "player": "ID",
    "postgres": "KIND",
    "put-back": "SCHEMA",
    "report": "FILE",
    "run": "ID",
    "select": "TEXT",
    "source": "FILE",
    "value": "FILE",
    "verify": "FILE",
}
"""The placeholder in --help for an option's value. An option has the same meaning in each task that takes it."""


class Whole(int):
    """The default of a numeric option, and its range. A default outside the range means: not given."""

    least: int
    most: int

    def __new__(cls, default: int, least: int = 1, most: int = MOST) -> Whole:
        """Keep the range beside the number. A copy made of the number alone gets its range from its attributes."""
        whole = super().__new__(cls, default)
        whole.least, whole.most = least, most
        return whole

    @property
    def is_given(self) -> bool:
        """Return True if the default is a value that a user could give."""
        return self.least <= self <= self.most

    @property
    def range(self) -> str:
        """Return the range in words."""
        return f"from {self.least:,} to {self.most:,}"

    def read(self, text: str, option: str) -> int:
        """Return the number that the text holds. Raises Refusal if it is none, or outside the range."""
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not self.least <= number <= self.most:
            raise Refusal(f"a whole number {self.range}", shortened(text), where=option, do=NOTHING_BEGUN)
        return number


class Option(Argument):
    """An option of a task. Raises Refusal for a number outside its range."""

    def __init__(self, **given: Any) -> None:
        default = given.get("default")
        self.whole = default if isinstance(default, Whole) else None
        super().__init__(**({**given, "kind": int} if self.whole is not None else given))

    def __repr__(self) -> str:
        """Return the option as a user writes it; Invoke prints this in its errors."""
        return self.flag

    @property
    def flag(self) -> str:
        """Return the option as a user writes it."""
        return f"--{self.names[0]}"

    @property
    def is_given(self) -> bool:
        """Return True if the command line gives the option a value; an empty text counts as none."""
        return self.raw_value is not None and self.value != "" and self.value is not False

    @property
    def shown(self) -> tuple[str, str]:
        """Return the option and its help as --help shows them: with a name for its value, range and default."""
        name = self.names[0]
        if self.kind is bool:
            return (f"--[no-]{name}" if self.default else self.flag), f"{self.help}{' (yes)' if self.default else ''}"
        metavar = "N" if self.whole is not None else METAVARS.get(name, "TEXT")
        return f"{self.flag}={metavar}", f"{self.help}{self._shown_default}"

    @property
    def _shown_default(self) -> str:
        if self.whole is not None:
            return f" ({int(self.whole)})" if self.whole.is_given else ""
        return f" ({self.default})" if self.default else ""

    def set_value(self, value: Any, cast: bool = True) -> None:
        """Take the value from the command line."""
        super().set_value(value if self.whole is None else self.whole.read(value, self.flag), cast)
        self.raw_value = value


def shortened(text: str) -> str:
    """Return a user's text without passwords, cut where it would fill the screen."""
    from game.redaction import redact  # `invoke --list` is to load none of the game

    # Redacted before it is cut: of a URL that is cut in its password, nothing shows that it is one.
    text = redact(text)
    return repr(text) if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]!r} and more"
