"""Errors of every kind pass from one process to another as they are: tools that work beside each other raise them."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from collections.abc import Iterator

import db
import harness
from db.errors import ToolError


def kinds(of: type[ToolError]) -> Iterator[type[ToolError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def all_kinds() -> list[type[ToolError]]:
    for package in (db, harness):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return sorted(set(kinds(ToolError)), key=lambda kind: kind.__qualname__)


def test_an_error_of_any_kind_is_the_same_in_another_process() -> None:
    found = all_kinds()
    assert len(found) > 12
    for kind in found:
        error = kind.__new__(kind)
        ToolError.__init__(error, "a file", "none", where="there", do="Make one.")
        error.add_note("beside")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert (str(again), vars(again)) == (str(error), vars(error))
