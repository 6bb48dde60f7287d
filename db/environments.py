"""development | test | staging | production: where each one's databases are, and what may be done to them.

`environments.toml` says it all but the secrets: `${NAME}` in a value is taken from the environment, then from
`.env.<name>` and `.env` beside the file. Tools take their target from here and never from the service's pointer.
"""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from dotenv import dotenv_values
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo

from db.errors import Refusal
from db.paths import require_file
from game import libpq
from game.errors import BadUrl
from game.settings import Settings
from game.urls import LegacyUrl, PostgresUrl, read

NAMES = ("development", "test", "staging", "production")
DESTRUCTIBLE = ("development", "test")
CONFIRMED = ("production",)
THROWAWAY = "test"
"""Its server is started for one command and stopped after it, so the file has no section for it."""

HOOKS = "hooks"
OURS = frozenset({"name", "variables"})
"""Fields of an environment that no section may write."""

DEFAULT_PATH = Path("environments.toml")
UNKNOWN_KEY = "unexpected_keyword_argument"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def _base(info: ValidationInfo) -> Path:
    assert info.context is not None, "load gives the file's folder"
    return Path(info.context["base"])


class _Amiss(ValueError):
    """What pydantic is told of a value that it can't have; the refusal is made of it."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found


def _path(value: object, info: ValidationInfo) -> object:
    return _base(info) / value if isinstance(value, str) else value


def _postgres(value: object, info: ValidationInfo) -> PostgresUrl:
    url = _url(value, info)
    if not isinstance(url, PostgresUrl):
        raise _Amiss("a URL that begins with postgresql://", f"the file {url}")
    return url


def _legacy(value: object, info: ValidationInfo) -> LegacyUrl:
    url = _url(value, info)
    if not isinstance(url, LegacyUrl):
        raise _Amiss("the file of the legacy game, file:path", f"the server {url}")
    return url


def _url(value: object, info: ValidationInfo) -> PostgresUrl | LegacyUrl:
    if not isinstance(value, str):
        raise _Amiss("a URL, as a string", f"a value of the type {type(value).__name__}")
    try:
        return read(value, base=_base(info))
    except BadUrl as error:
        raise _Amiss(error.expected, error.found) from None


_Folder = Annotated[Path, BeforeValidator(_path)]
_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(gt=0)]


class _Strict:
    """A key that nobody reads would be a setting that nobody honours."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True)
class Pointer(_Strict):
    """The env file that the service reads, and the variable in it that names its store."""

    path: _Folder
    variable: str = "DATABASE_URL"


@dataclass(frozen=True)
class Hooks(_Strict):
    """Shell commands that the cutover runs; None where there is nothing to run."""

    deploy: str | None = None
    drain: str | None = None
    restart: str | None = None
    health: str | None = None


@dataclass(frozen=True)
class SnapshotPlan(_Strict):
    """Where snapshots of both stores go, and how many of each are kept."""

    folder: _Folder
    provider: Literal["pg_dump"] = "pg_dump"
    keep: Annotated[int, Field(ge=1)] = 3


@dataclass(frozen=True)
class Policy(_Strict):
    """How long read-only may last, how many players may be held, and what the watch afterwards does about a breach."""

    freeze_budget_seconds: _Seconds = 60.0
    max_held: _Count = 0
    watch_seconds: Annotated[float, Field(ge=0)] = 600.0
    on_breach: Literal["report", "rollback"] = "report"


@dataclass(frozen=True)
class Environment(_Strict):
    """One environment. target: by the service's role; target_direct: by the owner, past a pooler: what tools use."""

    name: str
    legacy: Annotated[LegacyUrl, BeforeValidator(_legacy)]
    target: Annotated[PostgresUrl, BeforeValidator(_postgres)]
    target_direct: Annotated[PostgresUrl, BeforeValidator(_postgres)]
    pointer: Pointer
    snapshots: SnapshotPlan
    services: tuple[str, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)
    policy: Policy = field(default_factory=Policy)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the env files beside environments.toml say: handed to the hooks, and never shown."""


def load(name: str | None, path: Path | str = DEFAULT_PATH) -> Environment:
    """Load the environment of that name. Raises Refusal for an unknown name, file or key, a bad URL or variable."""
    path = Path(path)
    known = check_name(name)
    sections = _read(path)
    if known not in sections:
        raise Refusal(
            f"a section [{known}]", ", ".join(f"[{name}]" for name in sections) or "none", where=str(path),
            do="The test environment is made for one command: give --env test to a task that starts a server."
            if known == THROWAWAY else "Write one: environments.toml of the project is annotated.",
        )  # fmt: skip
    section = sections[known]
    for ours in OURS & section.keys():
        raise _unknown_key(ours, f"{path} [{known}]")
    _require_own_target(section, path, known)
    base = path.absolute().parent
    variables = _Variables(base, known)
    values = _expand({"name": known, **section}, variables, f"{path} [{known}]")
    values["variables"] = variables.of_files
    try:
        environment = TypeAdapter(Environment).validate_python(values, context={"base": base})
    except ValidationError as error:
        raise _refusal(error, f"{path} [{known}]") from None
    if environment.target.schema != environment.target_direct.schema:
        raise Refusal(
            "one schema in target and target_direct",
            f"{environment.target.schema} and {environment.target_direct.schema}",
            where=f"{path} [{known}]",
        )
    # Checked before any tool begins: during a move, a refused connection would look like a server that is down.
    for url in (environment.target, environment.target_direct):
        check_libpq(url.parameters, where=url.redacted)
    return environment


def check_name(name: str | None) -> str:
    """The name, if it is an environment's. Refusal naming the choices."""
    if name not in NAMES:
        choices = " | ".join(NAMES)
        raise Refusal(f"--env {choices}", f"--env {name}" if name else "no --env", do="Name the environment to act on.")
    return name


def throwaway(*, owner: PostgresUrl, service: PostgresUrl, legacy: Path, folder: Path, **more: Any) -> Environment:
    """The environment `test` on a server of the caller's; all its files stand in the folder. `more`: other fields."""
    fields: dict[str, Any] = {
        "pointer": Pointer(folder / "service.env"),
        "snapshots": SnapshotPlan(folder / "snapshots"),
        **more,
    }
    return Environment(
        name=THROWAWAY, legacy=LegacyUrl(legacy.absolute()), target=service, target_direct=owner, **fields
    )


def guard_destructive(environment: Environment) -> None:
    """Refusal unless what is there may be thrown away: reset and seed ask this first."""
    if environment.name not in DESTRUCTIBLE:
        raise Refusal(
            f"one of the environments {' and '.join(DESTRUCTIBLE)}", environment.name,
            where=environment.target_direct.redacted, do="Nothing here resets or seeds what players own.",
        )  # fmt: skip


def is_durable(name: str) -> bool:
    """Return True if the environment's data must survive a crash of its machine."""
    return name not in DESTRUCTIBLE


def require_confirmation(environment: Environment, typed: str | None) -> None:
    """Refusal unless production was named a second time, by hand or by --confirm."""
    if environment.name in CONFIRMED and typed != environment.name:
        raise Refusal(
            f"the name {environment.name}, typed", "another" if typed else "nothing",
            where=environment.target_direct.redacted,
            do=f"Type it when asked, or give --yes --confirm {environment.name}.",
        )  # fmt: skip


def secret(name: str, base: Path = Path()) -> str | None:
    """A secret of the tools' own, such as GATE_SIGNING_KEY: exported, or in .env; None where it is not set."""
    return os.environ.get(name) or _env_values(base / ".env").get(name) or None


def step_summary() -> Path | None:
    """Where GitHub's runner takes Markdown about the step under way; None elsewhere."""
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(named) if named else None


def beside(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process of ours: this one's without libpq's variables, with the settings added."""
    return {**libpq.without(os.environ), **settings}


def check_libpq(parameters: Iterable[tuple[str, str]], *, where: str) -> None:
    """Raise Refusal if a variable is exported that libpq would read besides these parameters of a URL."""
    names = libpq.refused(os.environ, parameters)
    if names:
        raise Refusal(
            "an environment without libpq's own variables", ", ".join(names), where=where, do=libpq.remedy(names)
        )


def is_exported(name: str) -> bool:
    """Whether the variable is in this process's environment, which wins over any file."""
    return name in os.environ


def operator_token(environment: Environment) -> str:
    """The token with which the service lets anyone act for any player. Refusal without one."""
    return _of_the_service(environment, "OPERATOR_TOKEN", "for the smoke behind the fence")


def token_secret(environment: Environment) -> str:
    """What the players' bearer tokens follow from. Refusal without one."""
    return _of_the_service(environment, "TOKEN_SECRET", "which players' tokens follow from")


def require_service_file(pointer: Pointer) -> None:
    """Check that the service's env file is there. Raises Refusal with the lines that it needs."""
    require_file(
        pointer.path, "the env file that the service reads",
        do=f"Write three lines into it: {pointer.variable}=file:GAME.db, and CHANCE_SECRET and TOKEN_SECRET, each a"
        " text of 16 characters or more. To make GAME.db: invoke seed --legacy GAME.db. More: docs/service.md.",
    )  # fmt: skip


def pool_size(environment: Environment) -> int:
    """Return the connections of each service process, from the pointer's file. Raises Refusal if they are no number."""
    setting = _env_values(environment.pointer.path).get("POOL_SIZE")
    size = setting or str(Settings.model_fields["pool_size"].default)
    if not size.isdecimal():
        raise Refusal("POOL_SIZE of digits", "another", where=str(environment.pointer.path), do="Correct the file.")
    return int(size)


def _of_the_service(environment: Environment, name: str, purpose: str) -> str:
    """A secret of the service's: exported, or in the file of the pointer, which the service reads."""
    found = os.environ.get(name) or _env_values(environment.pointer.path).get(name)
    if not found:
        raise Refusal(
            f"{name}, {purpose}", "none", where=str(environment.pointer.path),
            do="Give the service one, of 16 characters or more, and restart it.",
        )  # fmt: skip
    return found


def _env_values(file: Path, *, interpolate: bool = True) -> dict[str, str]:
    """Read an env file; a missing one has no values. Raises Refusal for anything else that is no readable file."""
    if not os.path.lexists(file):
        return {}
    require_file(file, "an env file", do="Put the file there, or move away what is there.")
    try:
        values = dotenv_values(file, interpolate=interpolate)
    except UnicodeDecodeError as error:
        raise Refusal(
            "an env file in UTF-8", f"another encoding, from byte {error.start} on", where=str(file),
            do="Save it as UTF-8.",
        ) from None  # fmt: skip
    return {key: value for key, value in values.items() if value is not None}


def become(argv: Sequence[str], settings: Mapping[str, str]) -> NoReturn:
    """Replace this process by another, with the settings exported to it besides what is exported already."""
    os.execve(argv[0], list(argv), beside(settings))


def _read(path: Path) -> dict[str, dict[str, Any]]:
    require_file(path, "the file of environments", do="Run from the project's folder.")
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refusal("TOML", str(error), where=str(path)) from None
    for name, section in sections.items():
        if name not in NAMES or not isinstance(section, dict):
            raise Refusal(f"sections named {', '.join(NAMES)}", f"the key {name}", where=str(path))
    return sections


def _require_own_target(section: Mapping[str, Any], path: Path, name: str) -> None:
    """The pointer is what a cutover changes: a tool that followed it would one day act on the other store."""
    pointer = section.get("pointer")
    variable = pointer.get("variable", "DATABASE_URL") if isinstance(pointer, dict) else "DATABASE_URL"
    for key in ("target", "target_direct", "legacy"):
        if f"${{{variable}}}" in str(section.get(key, "")):
            raise Refusal(
                f"a variable of its own in {key}", f"${{{variable}}}, the pointer that the service follows",
                where=f"{path} [{name}]", do="Keep the store's URL in another variable.",
            )  # fmt: skip


class _Variables:
    """Variables by name: exported ones win, then `.env.<environment>`, then `.env`."""

    def __init__(self, base: Path, name: str) -> None:
        self.files = (base / f".env.{name}", base / ".env")
        self.of_files = {
            key: value for file in reversed(self.files) for key, value in _env_values(file, interpolate=False).items()
        }
        self._values = {**self.of_files, **os.environ}

    def get(self, name: str, where: str) -> str:
        """The variable's value. Refusal naming it where it is missing or empty."""
        value = self._values.get(name)
        if not value:
            raise Refusal(
                f"the variable {name}", "none" if value is None else "an empty one", where=where,
                do=f"Export it, or write it into {' or '.join(file.name for file in self.files)}; see .env.example.",
            )  # fmt: skip
        return value


def _expand(value: Any, variables: _Variables, where: str) -> Any:
    """Every `${NAME}` replaced, but for the hooks': their shell does it, so no secret stands in a command line."""
    match value:
        case str():
            return _VARIABLE.sub(lambda found: variables.get(found[1], where), value)
        case dict():
            return {
                key: inner if key == HOOKS else _expand(inner, variables, f"{where} {key}")
                for key, inner in value.items()
            }
        case list():
            return [_expand(inner, variables, where) for inner in value]
        case _:
            return value


def _refusal(error: ValidationError, where: str) -> Refusal:
    """The first thing that is wrong, an unknown key before all, without the value: it may hold a secret."""
    found = error.errors(include_url=False, include_input=False)
    first = next((one for one in found if one["type"] == UNKNOWN_KEY), found[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == UNKNOWN_KEY:
        return _unknown_key(key, where)
    if first["type"] == "missing":
        return Refusal(f"the key {key}", "none", where=where)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, _Amiss):
        return Refusal(cause.expected, cause.found, where=f"{where} {key}")
    return Refusal("another value", first["msg"][:1].lower() + first["msg"][1:], where=f"{where} {key}")


def _unknown_key(key: str, where: str) -> Refusal:
    return Refusal(f"keys out of {', '.join(_keys(key.rpartition('.')[0]))}", f"the unknown key {key}", where=where)


def _keys(parent: str) -> list[str]:
    owners: dict[str, type[_Strict]]
    owners = {"": Environment, "pointer": Pointer, "hooks": Hooks, "snapshots": SnapshotPlan, "policy": Policy}
    return [key for key in inspect.signature(owners[parent]).parameters if parent or key not in OURS]
