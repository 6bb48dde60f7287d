"""Checks a whole command line before Invoke runs its first task, and prints a task's help.

Invoke exits with 1 for a word that it does not know, ignores an option that does nothing, and has no name for a
number. It offers no hook for that to a project without a program of its own, so the tasks call `check` when they are
loaded: Invoke has then read its own options, and not yet those of the tasks.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import ParseError
from invoke.main import program
from invoke.parser import Parser
from invoke.parser.context import ParserContext
from invoke.terminals import pty_size

from db.errors import Refusal
from harness.cli.framework import letters
from harness.cli.framework.options import NOTHING_BEGUN, Option, shortened
from harness.cli.framework.tasks import Task

if TYPE_CHECKING:
    from invoke.collection import Collection

INERT = (
    "command-timeout",
    "config",
    "dry",
    "echo",
    "hide",
    "no-dedupe",
    "prompt-for-sudo-password",
    "pty",
    "warn-only",
)
"""Invoke's options for shell commands that a task runs through it; ours run none, so `--dry` would do the work."""

OUTPUTS = ("into", "json", "report")
"""Options that name a file to write, in each task that has them."""

_UNKNOWN = re.compile(r"No idea what (.*) is!", re.DOTALL)
_WITHOUT_VALUE = re.compile(r"Flag (.*) needed value and was not given one!", re.DOTALL)


def check(namespace: Collection) -> None:
    """Exit with 2 and a line if the command line can't be meant; print help where it asks for a task's.

    Does nothing if another program than Invoke's command loaded the tasks.
    """
    if not hasattr(program, "core"):
        return
    core = program.core[0]
    if core.args["complete"].value:
        return
    asked: list[ParserContext] = []
    try:
        again, *asked = _parsed(namespace)
        _check(namespace, core, again, asked)
    except Refusal as refusal:
        from db.console.output import misused  # it takes 0.2 s to load

        misused(refusal, _json(asked))


def _parsed(namespace: Collection) -> list[ParserContext]:
    """Return Invoke's own options and those of each task of the line. Raises Refusal for a word that nobody knows."""
    parser = Parser(contexts=namespace.to_contexts(), initial=program.initial_context)
    letters.check(program.core.unparsed, parser.contexts)
    try:
        parsed = parser.parse_argv(list(program.core.unparsed))
    except ParseError as error:
        _require_effect(program.core[0], [])  # A letter before the first task is Invoke's own.
        raise _refusal(error, parser) from None
    for context in (program.core[0], parsed[0]):
        if name := context.args["help"].value:
            _help(namespace, parser, name)
    return parsed


def _json(asked: list[ParserContext]) -> str | None:
    """Return the path that the first task's --json names, if a file can be written there."""
    from db.files.private import require_writable  # `invoke --list` is to load none of the game

    option = asked[0].args.get("json") if asked else None
    if option is None or not option.value:
        return None
    if option.value != "-":
        try:
            require_writable(Path(option.value), "--json")
        except Refusal:
            return None
    return str(option.value)


def _check(namespace: Collection, core: ParserContext, again: ParserContext, asked: list[ParserContext]) -> None:
    for context in (core, again):
        _require_effect(context, asked)
    for context in asked:
        _require_values(context)
    for context in asked:
        one = namespace[context.name]
        if isinstance(one, Task):
            _require_companions(one, context)
    for context in asked:
        _require_server(context)
    for context in asked:
        _require_outputs(namespace[context.name], context)


def _help(namespace: Collection, parser: Parser, name: object) -> None:
    """Print the help of a task and exit, if `name` is one; a bare `--help` is Invoke's own."""
    if not isinstance(name, str):
        return
    if name not in parser.contexts:
        raise Refusal("the name of a task", shortened(name), where="--help", do=_nearest(name, parser.contexts, ""))
    context = parser.contexts[name]
    print(f"Usage: invoke {name}{' [--options]' if context.args else ''}\n")
    one = namespace[name]
    text = one.description if isinstance(one, Task) else one.__doc__ or ""
    print(textwrap.fill(text, pty_size()[0], initial_indent="  ", subsequent_indent="  "))
    print("\nOptions; in brackets what holds if one is not given:\n" if context.args else "")
    if context.args:
        program.print_columns([option.shown for option in _options(context)])
    raise SystemExit(0)


def _options(context: ParserContext) -> list[Option]:
    return [one for one in dict.fromkeys(context.flags.values()) if isinstance(one, Option)]


def _refusal(error: ParseError, parser: Parser) -> Refusal:
    """Return Invoke's finding in our form, with the nearest word that it knows."""
    name = _name(error.context)
    where = f"invoke {name}".strip()
    if (matched := _WITHOUT_VALUE.fullmatch(str(error))) is not None:
        return Refusal(f"a value for {matched[1]}", "none", where=where, do=NOTHING_BEGUN)
    if (matched := _UNKNOWN.fullmatch(str(error))) is None:
        return Refusal("options of its tasks", str(error), where=where, do=NOTHING_BEGUN)
    word = matched[1].strip("'\"")
    flags = list(error.context.flags) if error.context is not None and name else []
    if word.startswith("-"):
        expected = "options that it has" if name else "a task first, then its options"
        return Refusal(expected, shortened(word), where=where, do=_nearest(word, flags, name))
    expected = "--option=VALUE, or another task" if name else "a task"
    return Refusal(expected, shortened(word), where=where, do=_nearest(word, [*flags, *parser.contexts], name))


def _nearest(word: str, known: Iterable[str], name: str) -> str:
    near = get_close_matches(word, list(known), n=1)
    listed = f"`invoke --help {name}` lists its options." if name else "`invoke --list` names the tasks."
    return f"{f'Did you mean {near[0]}? ' if near else ''}{listed} {NOTHING_BEGUN}"


def _name(context: ParserContext | None) -> str:
    """Return the task as a user names it: `transfer` for the default task of the collection of that name."""
    return "" if context is None or not context.name else min((context.name, *context.aliases), key=len)


def _require_effect(core: ParserContext, asked: list[ParserContext]) -> None:
    for name in INERT:
        option = core.args[name]
        if option.raw_value is None:
            continue
        letters = "".join(f" (-{letter})" for letter in option.nicknames)
        known = [flag for context in asked for flag in context.flags]
        raise Refusal(
            "options of the task alone",
            f"Invoke's own --{name}{letters}, which does nothing here",
            where=" ".join(["invoke", *map(_name, asked)]),
            do=_nearest(f"--{name}", known, _name(asked[0]) if asked else ""),
        )


def _require_values(context: ParserContext) -> None:
    """Refuse an empty text: it comes from a variable that is not set, and would mean the same as no option."""
    for option in _options(context):
        if option.raw_value is not None and option.value == "":
            raise Refusal(
                f"a value for {option.flag}", "an empty one", where=f"invoke {_name(context)}", do=NOTHING_BEGUN
            )


def _require_companions(one: Task, context: ParserContext) -> None:
    where = f"invoke {_name(context)}"
    for alternatives in one.required:
        options = [_option(context, name) for name in alternatives.split("|")]
        if not any(option.is_given for option in options):
            raise Refusal(
                " or ".join(option.shown[0].replace("=", " ") for option in options),
                "none",
                where=where,
                do=f"Name it: {'; '.join(str(option.help) for option in options)}. {NOTHING_BEGUN}",
            )
    for name, companions in one.needs.items():
        if _option(context, name).is_given and not any(_holds(context, companion) for companion in companions):
            wanted = " or ".join(f"--{companion.replace('=', ' ')}" for companion in companions)
            raise Refusal(
                f"{wanted} with --{name}",
                f"--{name} without it",
                where=where,
                do=f"--{name} alone would change nothing. {NOTHING_BEGUN}",
            )
    for name, idle in one.ignores.items():
        for other in idle:
            if _option(context, name).is_given and _option(context, other).is_given:
                raise Refusal(
                    f"--{name} without --{other}",
                    "both",
                    where=where,
                    do=f"--{other} would change nothing beside it; leave it out. {NOTHING_BEGUN}",
                )


def _require_server(context: ParserContext) -> None:
    """Check the server that --postgres names before anything echoes it, or a program gets it as an argument."""
    option = context.args.get("postgres")
    if option is not None and option.value:
        from db.servers import check_kind  # it takes half a second to load

        check_kind(str(option.value))


def _holds(context: ParserContext, companion: str) -> bool:
    name, _, value = companion.partition("=")
    option = _option(context, name)
    return option.is_given and (not value or option.value == value)


def _option(context: ParserContext, name: str) -> Option:
    option = context.args[name]
    assert isinstance(option, Option), "a task of ours has options of ours"
    return option


def _require_outputs(one: object, context: ParserContext) -> None:
    """Check each file that a task will write, before any task of the line begins."""
    from db.files.private import require_writable  # `invoke --list` is to load none of the game

    named = (*OUTPUTS, *(one.writes if isinstance(one, Task) else ()))
    for option in _options(context):
        if option.names[0] not in named or option.raw_value is None or option.value == "-":
            continue
        require_writable(Path(str(option.value)), option.flag)
