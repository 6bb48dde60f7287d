"""The decorator of the tasks: options without letters, and which options go together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import invoke.tasks
from invoke.parser.argument import Argument

from harness.cli.framework.groups import single_options
from harness.cli.framework.options import Option


class Task(invoke.tasks.Task[Callable[..., None]]):
    """A task of ours.

    required: options that the task can't do without; `on|off` is one of the two.
    needs: an option to those that it does nothing without. One of them is enough; `env=test` is --env with that value.
    ignores: an option to those that do nothing beside it.
    writes: options that name a file to write, besides --into, --json and --report.
    The docstring up to its first `;` or `:` is the task's line in --list.
    """

    def __init__(
        self,
        body: Callable[..., None],
        *,
        required: Sequence[str] = (),
        needs: Mapping[str, Sequence[str]] | None = None,
        ignores: Mapping[str, Sequence[str]] | None = None,
        writes: Sequence[str] = (),
        **given: Any,
    ) -> None:
        single, texts = single_options(body)
        given["help"] = {**texts, **given.get("help", {})}
        # Invoke would deal letters by the order of the parameters: -i was --discard-writes, and -p three things.
        super().__init__(single, auto_shortflags=False, **given)
        self.description = inspect.getdoc(body) or ""
        self.__doc__ = re.split("[;:.](?: |$)", self.description)[0] + "."
        self.required = tuple(required)
        self.needs = dict(needs or {})
        self.ignores = dict(ignores or {})
        self.writes = tuple(writes)

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the options. Safe to call again: Invoke's own takes each help text out of the task."""
        texts = dict(self.help)
        try:
            arguments = super().get_arguments(ignore_unknown_help)
        finally:
            self.help = texts
        return [self._option(argument) for argument in arguments]

    def _option(self, argument: Argument) -> Option:
        name = argument.names[0]
        required = next((_required(one, name) for one in self.required if name in one.split("|")), "")
        return Option(
            names=argument.names,
            kind=argument.kind,
            default=argument.default,
            help=f"{argument.help}{required}",
            attr_name=argument.attr_name,
        )


def _required(alternatives: str, name: str) -> str:
    others = [f"--{other}" for other in alternatives.split("|") if other != name]
    return f"; required without {' or '.join(others)}" if others else "; required"


task = partial(invoke.tasks.task, klass=Task)
