"""The files that describe an environment: the project's environments.toml, and the operator's, whose keys win.

The operator's file is what SUDAMR_ENVIRONMENTS names, else environments.local.toml beside environments.toml. It is in
no commit. Tables are merged key by key; another value replaces the project's. `${NAME}` and relative paths mean the
same in both files: `.env` and paths are looked for in the folder of environments.toml.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from db.errors import Refusal, all_of
from db.files.paths import require_file
from game.redaction import redact

VARIABLE = "SUDAMR_ENVIRONMENTS"
LOCAL = "environments.local.toml"

SHORT_DIGEST = 12
LONGEST_VALUE = 160

MOST_BYTES = 1 << 18
MOST_LINE_BYTES = 1 << 12
"""tomllib takes the square of the parts of a key, and Python converts numbers of up to 4,300 digits."""

MOST_LEVELS = 10
_CORRECT_TOML = "Correct that line; at the end of the document, close what is open: a quote, [ or {."

TomlTable = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file that was read. sha256: in hex; empty for an env file, whose digest would help to guess a secret."""

    path: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.path} (sha256 {self.sha256[:SHORT_DIGEST]})" if self.sha256 else self.path


@dataclass(frozen=True, slots=True)
class Override:
    """A key of the operator's file. old, new: for people, without secrets; raised: what a weaker limit allows."""

    key: str
    old: str
    new: str
    raised: str = ""

    def __str__(self) -> str:
        if self.old == self.new and not self.raised:
            return f"{self.key}: {self.new}, as in environments.toml"
        return f"{self.key}: {self.old} → {self.new}{f'; {self.raised}' if self.raised else ''}"


@dataclass(frozen=True, slots=True)
class FilesRead:
    """The files that an environment was read from. files: the operator's is the last; env_files: without digests.

    not_read: the operator's file beside environments.toml, where SUDAMR_ENVIRONMENTS names another.
    """

    files: tuple[FileRead, ...] = ()
    overrides: tuple[Override, ...] = ()
    env_files: tuple[FileRead, ...] = ()
    not_read: str = ""

    @property
    def raised(self) -> tuple[Override, ...]:
        """Return the overrides that weaken a limit."""
        return tuple(override for override in self.overrides if override.raised)

    def lines(self) -> list[str]:
        """Return what was read and which keys are overridden, a line each."""
        wins = "; its keys win over environments.toml"
        return [
            *(f"{file}{wins if number else ''}" for number, file in enumerate(self.files)),
            *(f"  {override}" for override in self.overrides),
            *(f"{file}: values of ${{NAME}}" for file in self.env_files),
            *([f"not read: {self.not_read}, for {VARIABLE} names another file"] if self.not_read else []),
        ]

    @property
    def operators(self) -> str:
        """Return the path of the operator's file: the one that was read, else the one that would be."""
        return self.files[-1].path if len(self.files) > 1 else LOCAL

    def file_of(self, key: str) -> str:
        """Return the path of the file to edit for the key, `hooks.restart`."""
        overridden = any(_is_within(key, override.key) for override in self.overrides)
        return self.files[-1 if overridden else 0].path if self.files else "environments.toml"


@dataclass(frozen=True, slots=True)
class Section:
    """One environment's section, merged. own: what the operator's file says of it."""

    name: str
    project: TomlTable
    own: TomlTable
    paths: tuple[Path, ...]
    files: tuple[FileRead, ...]
    names: tuple[str, ...]
    not_read: str

    @property
    def values(self) -> dict[str, Any]:
        """Return the settings, with the operator's over the project's."""
        return _merged(self.project, self.own)

    def place(self, key: str) -> str:
        """Return the file that says the key, and the section, for a refusal."""
        return f"{self.paths[-1 if self.has_own(key) else 0]} [{self.name}]"

    def has_own(self, key: str) -> bool:
        """Return True if the operator's file says the key."""
        return any(_is_within(key, leaf) for leaf, _ in _leaves(self.own))

    def where(self, key: str) -> str:
        """Return the file that says the key, the section and the key, for a refusal."""
        return f"{self.place(key)} {key}"

    def read(self, env_files: Iterable[Path], default: Callable[[str], object]) -> FilesRead:
        """Return what was read. default: gives the value of a key that is written nowhere."""
        project = dict(_leaves(self.project))
        overrides = [
            _override(key, project[key] if key in project else default(key), new) for key, new in _leaves(self.own)
        ]
        named = tuple(FileRead(str(file), "") for file in env_files if file.exists())
        return FilesRead(self.files, tuple(overrides), named, self.not_read)


def read(path: Path, named: str | None, environment: str, known: Sequence[str]) -> Section:
    """Read the environment's section of environments.toml and of the operator's file.

    named: the value of SUDAMR_ENVIRONMENTS, None if not set. known: the names that a section may have. Raises Refusal
    naming the file where one is missing, can't be read, is no TOML, or has a section of another name.
    """
    paths = (path, *_operators(path, named))
    reading = (partial(_read, each, known, first=each is path) for each in paths)
    tables, files = zip(*all_of(reading), strict=True)
    names = tuple(dict.fromkeys(name for table in tables for name in table))
    own = tables[1].get(environment, {}) if len(tables) > 1 else {}
    return Section(environment, tables[0].get(environment, {}), own, paths, files, names, _not_read(path, paths))


def _not_read(path: Path, paths: Iterable[Path]) -> str:
    local = path.with_name(LOCAL)
    return str(local) if _is_there(local) and local.absolute() not in [each.absolute() for each in paths] else ""


def _operators(path: Path, named: str | None) -> Iterator[Path]:
    if named == "":
        raise Refusal(
            f"{VARIABLE} to name the operator's file",
            "an empty value",
            where=str(path.absolute().parent),
            do=f"Name a file, or `unset {VARIABLE}`.",
        )
    if named is not None:
        yield path.absolute().parent / named
    elif _is_there(path.with_name(LOCAL)):
        yield path.with_name(LOCAL)


def _is_there(path: Path) -> bool:
    """Return True also for a link that leads nowhere: whoever made it believes that the file is read."""
    return path.exists() or path.is_symlink()


def _read(path: Path, known: Sequence[str], *, first: bool) -> tuple[dict[str, dict[str, Any]], FileRead]:
    content = _content(path, first=first)
    _check_sizes(path, content)
    try:
        sections = _parsed(content.decode())
    except ValueError as error:  # Also of a text that is not UTF-8.
        raise Refusal("TOML", str(error), where=str(path), do=_CORRECT_TOML) from None
    except RecursionError:
        raise Refusal("TOML", "values nested too deeply", where=str(path), do="Take the nesting out.") from None
    for name, section in sections.items():
        if name not in known or not isinstance(section, dict):
            raise Refusal(
                f"sections named {', '.join(known)}",
                f"the key {name}",
                where=str(path),
                do="Give it one of these names, or take it out.",
            )
    return sections, FileRead(str(path.absolute()), hashlib.sha256(content).hexdigest())


def _parsed(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError if it is none, RecursionError if a table is nested MOST_LEVELS deep."""
    sections = tomllib.loads(text)
    tables: list[TomlTable] = [sections]
    for _level in range(MOST_LEVELS):
        tables = [value for table in tables for value in table.values() if isinstance(value, dict)]
    if tables:
        raise RecursionError
    return sections


def _check_sizes(path: Path, content: bytes) -> None:
    """Refuse a key of many parts, before tomllib takes the square of their number. A key stands on one line."""
    longest = max(map(len, content.splitlines()), default=0)
    if len(content) > MOST_BYTES or longest > MOST_LINE_BYTES:
        raise Refusal(
            f"a file of at most {MOST_BYTES:,} bytes, and lines of {MOST_LINE_BYTES:,}",
            f"{len(content):,}, and a line of {longest:,}",
            where=str(path),
            do="Take out or shorten what is no setting.",
        )


def _content(path: Path, *, first: bool) -> bytes:
    what = "the file of environments" if first else "the operator's file of environments"
    do = (
        "Run from the project's folder."
        if first
        else f"Put the file there, or take {VARIABLE} out of the shell or .env."
    )
    if path.name == LOCAL:
        do = "Make it a file that this user can read, or remove it."
    require_file(path, what, do=do)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal(what, error.strerror or type(error).__name__, where=str(path), do=do) from None


def _merged(project: TomlTable, own: TomlTable) -> dict[str, Any]:
    both = {
        key: _merged(project[key], value) if isinstance(value, dict) and isinstance(project.get(key), dict) else value
        for key, value in own.items()
    }
    return {**project, **both}


def _leaves(table: TomlTable, parent: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{parent}{key}.")
        else:
            yield f"{parent}{key}", value


def _is_within(key: str, leaf: str) -> bool:
    """Return True if the key is the leaf, or within it; or a table that holds it, for a table that nobody knows."""
    return key == leaf or key.startswith(f"{leaf}.") or leaf.startswith(f"{key}.")


def _override(key: str, old: object, new: object) -> Override:
    """Return the override of a key, with the warning if it raises a limit."""
    judge = _LIMITS.get(key)
    raised = "" if judge is None or old == new else judge(old, new)
    before, after = _shown(old), _shown(new)
    hidden = ", otherwise in what is not shown" if before == after and old != new else ""
    return Override(key, before, after + hidden, raised)


def _shown(value: object) -> str:
    """Return the value as it is written, `${NAME}` included, without passwords that stand in it."""
    if value is None:
        return "not set"
    if isinstance(value, float):
        return f"{value:g}"
    text = redact(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    line = " ".join(text.split())
    return (line if len(line) <= LONGEST_VALUE else f"{line[:LONGEST_VALUE]}…") or "empty"


Judge = Callable[[object, object], str]
"""Says what the new value allows that the old one does not; nothing where it is as strict."""

BREACHES = ("report", "rollback")
TLS = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSLMODE = re.compile(r"[?&]sslmode=([a-z-]+)")


def _more(allows: str) -> Judge:
    return lambda old, new: f"RAISED: {allows}" if _number(new) > _number(old, unknown=float("-inf")) else ""


def _less(allows: str) -> Judge:
    return lambda old, new: f"WEAKER: {allows}" if _number(new, unknown=float("-inf")) < _number(old) else ""


def _number(value: object, unknown: float = float("inf")) -> float:
    """Return the number. A value that can't be compared, such as `${NAME}`, counts as one that weakens the limit."""
    try:
        return float(str(value))
    except ValueError:
        return unknown


def _of_breach(old: object, new: object) -> str:
    return "WEAKER: a breach is reported, and no longer rolled back" if old == "rollback" and new != old else ""


def _no_plan(old: object, new: object) -> str:
    return "WEAKER: a cutover begins without an approved plan" if old == "required" and new != old else ""


def _fewer_services(old: object, new: object) -> str:
    left = [str(url) for url in old if url not in _listed(new)] if isinstance(old, list | tuple) else []
    return f"WEAKER: no longer asked: {redact(', '.join(left))}" if left else ""


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _no_command(old: object, new: object) -> str:
    return "WEAKER: nothing is run" if str(old or "").strip() and not str(new).strip() else ""


def _weaker_tls(old: object, new: object) -> str:
    before, after = _sslmode(old), _sslmode(new)
    return f"WEAKER: sslmode {after} instead of {before}" if TLS.index(after) < TLS.index(before) else ""


def _sslmode(url: object) -> str:
    match = _SSLMODE.search(str(url))
    return match[1] if match and match[1] in TLS else "prefer"


_LIMITS: Mapping[str, Judge] = {
    "policy.max_held": _more("more players may be refused their commands after the move"),
    "policy.freeze_budget_seconds": _more("players may be kept read-only for longer"),
    "policy.watch_seconds": _less("the watch after the cutover is shorter"),
    "policy.on_breach": _of_breach,
    "policy.plan": _no_plan,
    "snapshots.keep": _less("fewer snapshots are kept"),
    "services": _fewer_services,
    "target": _weaker_tls,
    "target_direct": _weaker_tls,
    **{f"hooks.{hook}": _no_command for hook in ("deploy", "drain", "restart", "health")},
}
"""The keys that limit what a move may do to players, or that check it, and which direction is the weaker one."""
