"""Which tests run which lines of the targets: recorded once, by running the tests under a tracer, in a copy.

It takes some two times as long as the tests. Lines that a child process of a test runs count as the test's.
"""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path, PurePath

from harness.audit.copies import Copy, Ran
from harness.audit.generated import GeneratedMutation
from harness.audit.tracing import sitecustomize as tracing

TRACING = Path("harness/audit/tracing")


@dataclass
class Coverage:
    """seconds: how long each test took, of those that passed; lines: by file and line, the tests that run it."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))

    def catchers(self, mutation: GeneratedMutation, readers: Mapping[str, set[tuple[str, int]]]) -> list[str]:
        """Return the tests that run the changed lines, in the order in which to try them; see `_in_order`."""
        places = {(mutation.file, line) for line in range(mutation.first, mutation.last + 1)}
        places |= readers.get(mutation.users, set())
        tests = {test for place in places for test in self.lines.get(place, ())}
        return list(_in_order({test: self.seconds[test] for test in tests if test in self.seconds}, mutation.file))


def record(
    copy: Copy, files: Sequence[str], tests: Sequence[str], seconds: float, *options: str
) -> tuple[Coverage, Ran]:
    """Run the tests in the copy and return which lines of the files each of them runs."""
    folder = Path(tempfile.mkdtemp(prefix=".lines-", dir=copy.folder))
    settings = {
        tracing.FILES: os.pathsep.join(str(copy.folder / file) for file in files),
        tracing.FOLDER: str(folder),
    }
    traced = replace(copy, before=(copy.folder / TRACING,), settings=settings)
    try:
        ran = traced.pytest(tests, "-p", "harness.pytest_plugin.traced_lines", *options, seconds=seconds)
    finally:
        traced.close()
    coverage = Coverage()
    for line in _read(folder / "tests.jsonl"):
        test, took, passed = json.loads(line)
        if passed:
            coverage.seconds[test] = took
    for path in folder.glob("*.lines"):
        for line in _read(path):
            test, file, number = line.rstrip("\n").split("\t")
            coverage.lines[Path(file).relative_to(copy.folder).as_posix(), int(number)].add(test)
    return coverage, ran


def _read(path: Path) -> Iterator[str]:
    if path.exists():
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            yield from file


def readers(root: Path, files: Sequence[str]) -> dict[str, set[tuple[str, int]]]:
    """Return the places that read each constant of the files: in functions, by other constants made of it too."""
    read: dict[str, set[tuple[str, int]]] = defaultdict(set)
    made_of: dict[str, set[str]] = defaultdict(set)
    for file in files:
        for statement in ast.parse((root / file).read_text("utf-8")).body:
            for name, line in _of_definitions(statement):
                read[name].add((file, line))
            names = {
                (_name(node), node.lineno)
                for node in ast.walk(statement)
                if isinstance(node, (ast.Name, ast.Attribute))
            }
            for target in statement.targets if isinstance(statement, ast.Assign) else ():
                for name, _ in names:
                    made_of[name].add(_name(target))
            for name, line in names:
                read[name].add((file, line))
    return {name: set().union(*(read[user] for user in _users(name, made_of))) for name in read}


def _of_definitions(statement: ast.stmt) -> Iterator[tuple[str, int]]:
    """Yield the names in defaults and decorators, which no test runs, with the lines of their function."""
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef):
            heads = (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.decorator_list)
            for name in {_name(inner) for head in heads for inner in ast.walk(head)}:
                for part in node.body:
                    yield name, part.lineno


def _users(name: str, made_of: Mapping[str, set[str]]) -> set[str]:
    users, waiting = set(), [name]
    while waiting:
        user = waiting.pop()
        if user not in users:
            users.add(user)
            waiting += made_of.get(user, ())
    return users


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _in_order(seconds: Mapping[str, float], file: str) -> Iterator[str]:
    """Yield one case of each test function, the nearest to the file and then the quickest first; then other cases."""
    cases = defaultdict(list)
    for test in sorted(seconds, key=lambda test: (-_nearness(test, file), seconds[test])):
        cases[test.partition("[")[0]].append(test)
    for number in range(max(map(len, cases.values()), default=0)):
        yield from (of_one[number] for of_one in cases.values() if number < len(of_one))


def _nearness(test: str, file: str) -> int:
    """Return how many folders the test has in common with the file, less those that it has beyond."""
    path = PurePath(test.partition("::")[0])
    folders, own = path.parts[1:-1], PurePath(file).parts[:-1]
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(folders, own, strict=False))))
    return common - (len(folders) - common)
