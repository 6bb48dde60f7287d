"""A version of the program that can't read some values yet, chosen by a seed: what a later version mends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from db.transfer import loading
from game.json_text import Unreadable
from game.legacy.codec import arrays, equipment, name_arrays, quests
from game.legacy.codec.scalar import Scalar

WHOLE = (
    (quests, "read_quests"),
    (name_arrays, "read_names"),
    (equipment, "read_equipment"),
    (arrays, "read_object"),
)
"""The readers of documents; an element's is `arrays._inner`, a plain column's `Scalar.read`."""

ELEMENTS = {
    "read_array": {"inventory": "_items", "mail": "_letters", "equipmentPresets": "_presets"},
    "read_entries": {"singlePlayerMissions": "_missions"},
}
"""The readers of several documents, and a name for each document: name, seed and value decide whether it is read."""


@contextmanager
def unread(seed: int, one_in: int = 8) -> Iterator[None]:
    """While it lasts, one in so many values that could be read can't be."""

    def chosen(what: str, text: object) -> bool:
        key = f"{seed} {what} {text!r}".encode()
        return int.from_bytes(hashlib.sha256(key).digest()[:4]) % one_in == 0

    def refusing(name: str, read: Callable[..., Any], which: Callable[..., object]) -> Callable[..., Any]:
        def reader(*arguments: Any, **named: Any) -> Any:
            value = which(*arguments)
            if value not in (None, "", "[]", "{}", "null") and chosen(name, value):
                raise Unreadable("not_known_yet", f"this version can't read {name}")
            return read(*arguments, **named)

        return reader

    def refusing_each(read: Callable[..., Any], names: dict[str, str]) -> Callable[..., Any]:
        readers = {column: refusing(name, read, lambda cell, *_: cell) for column, name in names.items()}
        return lambda cell, document, *rest: readers[document.column](cell, document, *rest)

    with pytest.MonkeyPatch.context() as patch:
        for module, name in WHOLE:
            patch.setattr(module, name, refusing(name, getattr(module, name), lambda cell, *_: cell))
        for name, names in ELEMENTS.items():
            patch.setattr(arrays, name, refusing_each(getattr(arrays, name), names))
        patch.setattr(
            arrays,
            "_inner",
            refusing("element", arrays._inner, lambda text, part, _: text[part.start : part.end]),
        )
        original = Scalar.read

        def read(scalar: Scalar, cell: Any) -> Any:
            if cell is not None and scalar.column != "claimed" and chosen(scalar.column, cell):
                raise Unreadable("not_known_yet", f"this version can't read {scalar.column}")
            return original(scalar, cell)

        patch.setattr(Scalar, "read", read)
        # It tries the codec on values of its own, and would find that some of them can't be read.
        patch.setattr(loading, "check_homes", lambda: None)
        yield
