"""Options that several tasks take: a frozen dataclass has a field for each, and a task takes it as one parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import wraps
from typing import Any, cast

from harness.cli.texts import CONFIRM, DRY_RUN, ENV, YES


def _option(text: str, *, default: Any) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True)
class Consent:
    """The options of a task that changes an environment: the answers to the questions that it would ask."""

    yes: bool = _option(YES, default=False)
    confirm: str = _option(CONFIRM, default="")


@dataclass(frozen=True, slots=True)
class MoveOptions:
    """The options of a move in either direction."""

    env: str = _option(ENV, default="")
    offline: bool = _option("stop the game for the whole copy, or the whole write-back", default=False)
    dry_run: bool = _option(DRY_RUN, default=False)
    abort: bool = _option("undo what was begun, wholly", default=False)


@dataclass(frozen=True, slots=True)
class OrderOptions:
    """The options of a live move that holds, and those that order something of one from another terminal."""

    hold: bool = _option("stay before the window until --go; of one at work: take a go back", default=False)
    go: bool = _option("have the tool that holds go through its window", default=False)
    pause: bool = _option("have the tool that copies pause", default=False)
    resume: bool = _option("have it go on", default=False)

    @property
    def named(self) -> str:
        """Return the name of the option that is given; "" if none is."""
        return next((one.name for one in fields(self) if getattr(self, one.name)), "")


def single_options(body: Callable[..., None]) -> tuple[Callable[..., None], dict[str, str]]:
    """Return a task's body as a function of single options, as Invoke reads them, and the help of those in groups.

    A parameter is a group if its default is one; its options stand in the parameter's place.
    """
    whole = inspect.signature(body)
    groups: dict[str, Any] = {one.name: one.default for one in whole.parameters.values() if is_dataclass(one.default)}
    if not groups:
        return body, {}
    single = whole.replace(parameters=[option for one in whole.parameters.values() for option in _options(one)])

    @wraps(body)
    def run(*given: Any, **named: Any) -> None:
        bound = single.bind(*given, **named)
        bound.apply_defaults()
        values = bound.arguments
        for name, group in groups.items():
            values[name] = replace(group, **{one.name: values.pop(one.name) for one in fields(group)})
        body(**values)

    cast(Any, run).__signature__ = single
    texts = {one.name.replace("_", "-"): one.metadata["help"] for group in groups.values() for one in fields(group)}
    return run, texts


def _options(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    if not is_dataclass(parameter.default):
        yield parameter
        return
    for one in fields(parameter.default):
        yield parameter.replace(name=one.name, default=one.default, annotation=one.type)
