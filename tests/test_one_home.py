"""Code that is needed in many places is written in one: this scans the source for a second home of each such thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from game.redaction import is_secret_name

ROOT = Path(__file__).parents[1]

SIDECARS = "the files that SQLite keeps beside a database"
IDENTIFIERS = "an identifier of SQLite's in quotes"
INSERTS = "an INSERT into a table that is named at run time"
EMPTINESS = "whether a table that is named at run time has a row"
RUNS = "items in runs of a bounded weight"
RENAMES = "a file that gets its name once it is whole"
SECRETS = "names by which a secret is known"

HOMES = {
    SIDECARS: {"game/legacy/sidecars.py": "the home"},
    IDENTIFIERS: {"game/legacy/sqlite_values.py": "the home"},
    INSERTS: {
        "game/legacy/sqlite_values.py": "the home, for SQLite",
        "db/ops/statements.py": "the home, for Postgres",
        "game/postgres/statements.py": "the save of a command, many rows and parts in one statement",
        "game/legacy/fence_schema.py": "the fence's own table, its name a constant",
        "game/legacy/fence.py": "a try of a fenced table, without values",
        "game/legacy/draws.py": "a table of ours, its name a constant",
        "game/legacy/capture_schema.py": "what a trigger does, and a table of ours",
        "db/transfer/live/capture.py": "an INSERT of a SELECT",
        "db/transfer/live/writing.py": "an INSERT of a SELECT of arrays",
        "db/legacy/compiling.py": "a try in memory, without values",
        "db/ops/fence_proof.py": "a try of a fenced table, without values",
        "harness/bench/setup.py": "an INSERT of a SELECT",
        "harness/databases/reset.py": "a table of ours, its name built with the schema's",
    },
    EMPTINESS: {
        "db/ops/statements.py": "the home",
        "game/legacy/fence.py": "SQLite, for a row that a try can delete",
        "game/legacy/numbering.py": "SQLite, for a receipt without a number",
        "harness/databases/reset.py": "the text of a function in the database",
    },
    RUNS: {"game/runs.py": "the home"},
    RENAMES: {
        "db/files/private.py": "the home",
        "db/snapshots/manifest.py": "a folder",
        "db/snapshots/legacy.py": "the file that stood there is moved away",
        "harness/play/update.py": "a scenario of the checkout, which git gives to others",
    },
    SECRETS: {
        "game/redaction.py": "the home",
        "game/libpq.py": "KEPT: variables that libpq may read",
        "game/service/access.py": "_ONCE: headers that may come once",
        "game/service/openapi.py": "codes of refusals",
        "db/migrations/versions/0001_game.py": "names of tables",
        "db/legacy/schema_code.py": "a message of SQLite's",
    },
}
"""Where each may stand, and why."""


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts in the tree; {} stands for a value in a format string."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def matching(pattern: str) -> Callable[[ast.AST], bool]:
    return lambda tree: any(re.search(pattern, text, re.IGNORECASE) for text in texts(tree))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
            yield node


def doubles_quotes(tree: ast.AST) -> bool:
    arguments = ([one.value for one in call.args if isinstance(one, ast.Constant)] for call in calls(tree, "replace"))
    return ['"', '""'] in list(arguments)


def renames(tree: ast.AST) -> bool:
    """Return True for path.replace(other), path.rename(other) and os.replace(one, other)."""
    for call in calls(tree, "replace", "rename", "renames"):
        of_os = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "os"
        if of_os or (len(call.args) == 1 and not call.keywords):
            return True
    return False


def weighs(tree: ast.AST) -> bool:
    """Return True for `if run and total + more > limit`."""
    conditions = (node for node in ast.walk(tree) if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And))
    return any(
        isinstance(part, ast.Compare)
        and isinstance(part.left, ast.BinOp)
        and isinstance(part.left.op, ast.Add)
        and isinstance(part.ops[0], ast.Gt)
        and isinstance(condition.values[0], ast.Name)
        for condition in conditions
        for part in condition.values[1:]
    )


def lists_secrets(tree: ast.AST) -> bool:
    """Return True for a set with a secret's name, another list of two, and a pattern that looks for one."""
    return any(lists_names(node) or looks_for_names(node) for node in ast.walk(tree))


def lists_names(node: ast.AST) -> bool:
    if not isinstance(node, ast.Set | ast.List | ast.Tuple):
        return False
    names = [text for text in texts_of(node) if re.fullmatch(r"[\w-]+", text) and is_secret_name(text)]
    return len(names) > (0 if isinstance(node, ast.Set) else 1)


def looks_for_names(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") not in PATTERN_CALLS or not node.args:
        return False
    return any(re.search(r"passw|pwd|secret|token|cookie|authoriz", text, re.I) for text in texts(node.args[0]))


PATTERN_CALLS = {"compile", "search", "match", "fullmatch", "findall", "finditer", "sub"}


def texts_of(node: ast.Set | ast.List | ast.Tuple) -> list[str]:
    return [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]


KINDS: dict[str, Callable[[ast.AST], bool]] = {
    SIDECARS: matching(r"^(\{\})?-(wal|shm|journal)$"),
    IDENTIFIERS: doubles_quotes,
    INSERTS: matching(r"insert into (main\.)?\{"),
    EMPTINESS: matching(r"exists \(select (1 )?from \{"),
    RUNS: weighs,
    RENAMES: renames,
    SECRETS: lists_secrets,
}

SECOND_HOMES = {
    SIDECARS: 'log = path.with_name(f"{path.name}-wal")',
    IDENTIFIERS: """quoted = '"' + name.replace('"', '""') + '"'""",
    INSERTS: 'statement = f"INSERT INTO {table} VALUES (?)"',
    EMPTINESS: 'query = sql.SQL("select exists (select from {})").format(name)',
    RUNS: "for item in items:\n    if batch and size + item.bytes > limit:\n        pass",
    RENAMES: "part.replace(path)",
    SECRETS: 'PASSWORD = re.compile(r"pass(?:word|wd)?=|pwd=")',
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_one_home(kind: str) -> None:
    paths = [path for top in ("game", "db", "harness") for path in sorted((ROOT / top).rglob("*.py"))]
    standing = {
        str(path.relative_to(ROOT)) for path in paths if KINDS[kind](ast.parse(path.read_text("utf-8"), str(path)))
    }
    assert standing == set(HOMES[kind]), f"use the home of {kind}, or say why it can't be used"


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_home_is_seen(kind: str) -> None:
    assert KINDS[kind](ast.parse(SECOND_HOMES[kind]))
