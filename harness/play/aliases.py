"""Ids as a scenario writes them: the n-th that a request made is `<request>.<n>`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from game.rules.chance import new_id
from harness.scenarios.yaml_reader import Data

IDS_PER_REQUEST = 40
_ITEM_ID = re.compile(r"item-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Aliases:
    """The ids that the requests of a scenario make, and their names in it."""

    def __init__(self, requests: Iterable[str]) -> None:
        self._ids = {f"{request}.{n}": new_id(request, n) for request in requests for n in range(1, IDS_PER_REQUEST)}
        self._names = {item_id: name for name, item_id in self._ids.items()}

    def to_ids(self, value: Data) -> Data:
        """Return the value with the names in it replaced by ids, at any depth; keys of mappings too."""
        return _replaced(value, self._ids)

    def to_names(self, value: Data) -> Data:
        """Return the value with the ids in it replaced by the names that a scenario uses, at any depth."""
        return _replaced(value, self._names)

    def name(self, text: str) -> str:
        """Return the name of an id, or the text itself if no request made it."""
        return self._names.get(text, text)

    def in_text(self, text: str) -> str:
        """Return a sentence with the ids in it replaced by their names."""
        return _ITEM_ID.sub(lambda match: self.name(match[0]), text)


def _replaced(value: Data, by: Mapping[str, str]) -> Data:
    if isinstance(value, str):
        return by.get(value, value)
    if isinstance(value, list):
        return [_replaced(each, by) for each in value]
    if isinstance(value, dict):
        return {by.get(key, key): _replaced(each, by) for key, each in value.items()}
    return value
