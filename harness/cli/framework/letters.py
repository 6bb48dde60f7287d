"""Refuses an option that is written as a letter, such as `-p`, and names the option in full. No option has a letter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from invoke.parser.context import ParserContext

from db.errors import Refusal
from harness.cli.framework.options import NOTHING_BEGUN, shortened

OF_PYTEST = {"-k": "--select", "-n": "--workers"}
"""Letters that many type by habit."""

OF_HELP = "-h"
_LETTER = re.compile(r"-[A-Za-z]")


def check(words: Sequence[str], tasks: Mapping[str, ParserContext]) -> None:
    """Raise Refusal if a word of the line is an option of a task by a letter. tasks: by name, with their options."""
    task: ParserContext | None = None
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word in tasks:
            task = tasks[word]
        elif task is not None and _LETTER.match(word) and word != OF_HELP:
            raise _refusal(word, task)
        elif task is not None and word in task.flags:
            is_value = task.flags[word].takes_value


def _refusal(word: str, task: ParserContext) -> Refusal:
    name = min((str(task.name), *task.aliases), key=len)
    meant = list(dict.fromkeys(_meant(word, task)))
    do = f"Write it in full: {' or '.join(meant)}. " if meant else ""
    return Refusal(
        "options by their names: none has a letter",
        shortened(word),
        where=f"invoke {name}",
        do=f"{do}`invoke --help {name}` lists its options. {NOTHING_BEGUN}",
    )


def _meant(word: str, task: ParserContext) -> Iterator[str]:
    whole = f"-{word.partition('=')[0]}"  # -env for --env
    if whole in task.flags:
        yield whole
        return
    if (known := OF_PYTEST.get(word[:2])) in task.flags and known is not None:
        yield known
        return
    yield from (flag for flag in task.flags if flag.startswith(f"-{word[:2].lower()}"))
