"""The names that a remedy may use: tasks and their options, files, variables, settings, placeholders."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import tasks
from db import environments
from game.libpq import KEPT
from game.settings import Settings
from harness.cli.framework.options import Option
from tests.remedies.collecting import ROOT

PLACEHOLDERS = frozenset(
    {
        "COLUMN",
        "COMMAND",
        "COPY",
        "DATABASE",
        "FILE",
        "FOLDER",
        "HOST",
        "NAME",
        "WHY",
        "NEW",
        "PORT",
        "PROCESS",
        "URL",
        "USER",
        "VALUE",
    }
)
"""Placeholders for a reader to fill in; written in no other way."""

WORDS = frozenset({"JSON", "README", "UTF", "SQL", "UNIQUE", "PRIMARY", "KEY", "BLOB", "BLOBs", "WAL", "RDS", "AWS"})
OF_OTHERS = frozenset({"TMPDIR", "PYTHONPATH", "PGOPTIONS", "DATABASE_URL", "SUDAMR_ENV_FILE"})
LISTS_OF_OURS = frozenset({"PLAYER_STATE", "OTHER_STATE", "JOURNALS"})

STATEMENT = re.compile(
    r"\b(?:ALTER|CREATE|GRANT|SELECT|SET|DELETE|UPDATE|DROP|PRAGMA|REINDEX|SET role)\b[^;]*;|"
    r"CREATE OR REPLACE TRIGGER.*?;"
)
FOREIGN = re.compile(
    r"`(?:git|pip)[^`]*`|invoke --(?:list|help)(?: [a-z.{}]+)?|"
    r"kill -- -\S+|kill -9|sqlite3 \S+ '[^']*'|python3 -c \"[^\"]*\"|pip install \S+"
)
"""SQL and commands of other programs, which have options of their own."""

COMMAND = re.compile(
    r"invoke ([a-z]+(?:\.[a-z]+)?)((?: --?[a-z][a-z-]*(?: (?:\{[^}]*\}|[A-Z]+\b|\"[^\"]*\"|[a-z|]+(?=[ ,.;)]|$)))?)*)"
)
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


@cache
def options() -> dict[str, frozenset[str]]:
    """The options of each task, as they are typed."""
    result = {}
    for context in tasks.namespace.to_contexts():
        for name in (str(context.name), *map(str, context.aliases)):
            result[name] = frozenset(flag.strip("-") for flag in context.flags) | frozenset(
                flag.strip("-") for flag in context.inverse_flags
            )
    return result


@cache
def required() -> dict[str, frozenset[str]]:
    """The options without which a task refuses, but --env, which has rules of its own; as its help says."""
    result = {}
    for context in tasks.namespace.to_contexts():
        needed = {
            one.names[0]
            for one in context.flags.values()
            if isinstance(one, Option) and re.search("required(?! without)", one.help or "")
        }
        result |= {name: frozenset(needed - {"env"}) for name in (str(context.name), *map(str, context.aliases))}
    return result


@cache
def variables() -> frozenset[str]:
    """Every environment variable that the project reads or its documents explain."""
    written = (ROOT / ".env.example").read_text() + (ROOT / "docs" / "service.md").read_text()
    return (
        frozenset(name.upper() for name in Settings.model_fields)
        | OF_OTHERS
        | KEPT
        | frozenset(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", written))
    )


@cache
def keys() -> frozenset[str]:
    """The keys of an environment's section, dotted."""
    result = {field.name for field in dataclasses.fields(environments.Environment)}
    tables = {
        "pointer": environments.Pointer,
        "hooks": environments.Hooks,
        "snapshots": environments.SnapshotPlan,
        "policy": environments.Policy,
    }
    for table, owner in tables.items():
        result |= {f"{table}.{field.name}" for field in dataclasses.fields(owner)}
    return frozenset(result)


def faults(text: str) -> list[str]:
    """Return the faults of a remedy's text: names that do not exist."""
    plain = FOREIGN.sub(" ", STATEMENT.sub(" ", text))
    return [
        *_commands(plain),
        *_options(plain),
        *_files(plain),
        *_names(plain),
        *_keys(plain),
        *_placeholders(text),
    ]


def _commands(text: str) -> list[str]:
    result = []
    for command in COMMAND.finditer(text):
        task, given = command[1], set(OPTION.findall(command[2]))
        if task not in options():
            result.append(f"there is no task {task}")
            continue
        result += [f"{task} has no option --{option}" for option in given - options()[task]]
        if "--" in command[2]:  # Without any option it names a task, and is no command to type.
            result += [f"invoke {task} lacks --{option}" for option in sorted(required()[task] - given)]
        if "env" in options()[task] and not {"env", "legacy"} & given:
            result.append(f"invoke {task} lacks --env")
    if (many := len(re.findall(r"\binvoke (?!--)\S", text))) != len(COMMAND.findall(text)):
        holes = len(re.findall(r"invoke \{\}", text))
        result += ["a command that can't be read"] if many != len(COMMAND.findall(text)) + holes else []
    return result


def _options(text: str) -> list[str]:
    known = frozenset().union(*options().values()) | {"as-blobs"}
    return [f"no task has the option --{option}" for option in OPTION.findall(text) if option not in known]


def _files(text: str) -> list[str]:
    named = re.findall(r"(?<![\w/.{}])((?:[\w-]+/)*[\w-]+\.(?:md|toml|py))\b", text)
    return [f"there is no file {name}" for name in named if not (ROOT / name).exists()]


def _names(text: str) -> list[str]:
    words = set(re.findall(r"(?<![\w{])([A-Z][A-Z_]{2,})(?![\w}])", text))
    return [f"nobody knows {word}" for word in sorted(words - PLACEHOLDERS - WORDS - LISTS_OF_OURS - variables())]


def _keys(text: str) -> list[str]:
    named = re.findall(r"\b((?:policy|pointer|hooks|snapshots)\.[a-z_]+)", text)
    return [f"there is no key {name}" for name in named if name not in keys()]


def _placeholders(text: str) -> list[str]:
    odd = [mark for mark in ("…", "<name>", "--env <", "--env ENV", "<") if mark in text]
    return [f"a placeholder that is not in capitals: {mark}" for mark in odd[:1]]
