"""What is `given` of a player, checked: each check names the key, what was expected and what was found."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from game.legacy.codec.arrays import STEP
from game.rows import Record
from game.rules import catalog


class BadGiven(ValueError):
    """A player that can't be made; the message names the key, what was expected and what was found."""


def checked(given: Mapping[str, object], default: Mapping[str, object], where: str) -> dict[str, object]:
    """What is given, over the default; it may have no other keys."""
    for key in given:
        if key not in default:
            near = difflib.get_close_matches(str(key), default, n=1)
            raise BadGiven(f"{where}: expected one of {', '.join(default)}; found {key!r}{_nearest(near)}")
    return {**default, **given}


def _nearest(names: list[str]) -> str:
    return f"; did you mean {names[0]!r}?" if names else ""


def mapping(value: object, where: str) -> Mapping[str, object]:
    """The value, which must be a mapping."""
    if not isinstance(value, Mapping):
        raise BadGiven(f"{where}: expected a mapping; found {value!r}")
    return value


def whole(value: object, where: str, least: int = 0, most: int | None = None) -> int:
    """The value, which must be a whole number of at least `least`, and of at most `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadGiven(f"{where}: expected a whole number of at least {least}; found {value!r}")
    if most is not None and value > most:
        raise BadGiven(f"{where}: expected a whole number of at most {most}; found {value!r}")
    return value


def one_of(value: str, choices: Iterable[str], where: str) -> str:
    """The value, which must be one of the choices."""
    known = list(choices)
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        raise BadGiven(f"{where}: expected one of {', '.join(known)}; found {value!r}{_nearest(near)}")
    return value


def instant(value: object, where: str) -> int | None:
    """Epoch milliseconds of an ISO time with an offset, or of a number that is that already."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    moment = _moment(value)
    if moment is None or moment.tzinfo is None:
        raise BadGiven(f"{where}: expected an ISO time with an offset, or epoch milliseconds; found {value!r}")
    return int(moment.timestamp() * 1000)


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def template(name: object, where: str) -> catalog.Template:
    """The template of the item of that name."""
    if isinstance(name, str) and name in catalog.TEMPLATES:
        return catalog.TEMPLATES[name]
    near = difflib.get_close_matches(str(name), catalog.TEMPLATES, n=1, cutoff=0.3)
    raise BadGiven(f"{where}: expected an item's name; found {name!r}{_nearest(near)}")


def numbered(
    player_id: str, key: str, entries: Mapping[str, object], make: Callable[[str, object], Record]
) -> dict[tuple[str | int, ...], Record]:
    """Records by (player, entry), their positions in the order given."""
    return {
        (player_id, name): {"user_id": player_id, key: name, "position": n * STEP, **make(name, entry)}
        for n, (name, entry) in enumerate(entries.items())
    }
