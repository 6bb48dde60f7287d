"""development | test | staging | production: where each one's databases are, and what may be done to them.

`environments.toml` says it all but the secrets: `${NAME}` in a value is taken from the environment, then from
`.env.<name>` and `.env` beside the file. The operator's file overrides single keys: `db.environment_files`. Tools take
their target from here and never from the service's pointer.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from db import environment_files, service_file
from db.environment_files import FilesRead
from db.environment_plans import Hooks, ProviderPlan, Stated, Strict
from db.environment_variables import VARIABLE, Variables, expand
from db.errors import Refusal, all_of, together
from db.files import private
from game import libpq
from game.errors import BadUrl
from game.redaction import is_secret
from game.settings import Settings
from game.urls import LegacyUrl, PostgresUrl, read

NAMES = ("development", "test", "staging", "production")
DEVELOPMENT = "development"
DESTRUCTIBLE = ("development", "test")
STARTS_DEVELOPMENT = "invoke up"
THROWAWAY = "test"
"""Its server is started for one command and stopped after it, so the file has no section for it."""

SECTIONED = tuple(name for name in NAMES if name != THROWAWAY)
"""Environments that have a section."""

NOT_FROM_THE_FILE = frozenset({"name", "variables", "files_read"})
"""Fields of an environment that no section may write."""

DEFAULT_PATH = Path("environments.toml")
UNKNOWN_KEY = "unexpected_keyword_argument"
_CORRECT = "Correct that value, or the variable that it takes."


def _base(info: ValidationInfo) -> Path:
    assert info.context is not None, "load gives the file's folder"
    return Path(info.context["base"])


class _Amiss(ValueError):
    """A value that a setting can't have, as an error for pydantic; the refusal is made of it."""

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


def _monitor(value: object, info: ValidationInfo) -> object:
    return None if value is None else _postgres(value, info)


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
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Pointer(Strict):
    """The env file that the service reads, and the variable in it that names its store."""

    path: _Folder
    variable: str = "DATABASE_URL"


@dataclass(frozen=True)
class SnapshotPlan(Strict):
    """The folder for snapshots of both stores, and how many of each label are kept."""

    folder: _Folder
    provider: Literal["pg_dump"] = "pg_dump"
    keep: Annotated[int, Field(ge=1)] = 3


@dataclass(frozen=True)
class Policy(Strict):
    """Limits of a move: seconds of read-only, players held; and the answer to a breach of the watch afterwards.

    plan: "required" refuses a cutover that begins without an approved plan.
    """

    freeze_budget_seconds: _Seconds = 60.0
    max_held: _Count = 0
    watch_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 600.0
    on_breach: Literal["report", "rollback"] = "report"
    plan: Literal["optional", "required"] = "optional"


@dataclass(frozen=True)
class WatchPlan(Strict):
    """The settings of `invoke watch`.

    monitor: a role with pg_monitor to look as; None: target_direct. limits: other limits, by the check's name. every:
    seconds between looks. webhook: takes a POST of {"text": …}, as Slack's does. smtp: smtp:// or smtps:// URL of a
    mail server. heartbeat: a URL that is fetched after each look; whoever counts there notices that the watch died.
    listen: HOST:PORT where the last look is served to Prometheus.
    """

    monitor: Annotated[PostgresUrl | None, BeforeValidator(_monitor)] = None
    limits: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = field(default_factory=dict)
    every_seconds: Annotated[float, Field(ge=5, allow_inf_nan=False)] = 60.0
    webhook: str = field(default="", repr=False)
    smtp: str = field(default="", repr=False)
    mail_from: str = ""
    mail_to: tuple[str, ...] = ()
    heartbeat: str = field(default="", repr=False)
    listen: str = ""


@dataclass(frozen=True)
class Environment(Strict):
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
    watch: WatchPlan = field(default_factory=WatchPlan)
    provider: ProviderPlan = field(default_factory=ProviderPlan)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables of the env files beside environments.toml: passed to the hooks, and never shown."""
    files_read: FilesRead = field(default_factory=FilesRead)


def load(name: str | None, path: Path | str = DEFAULT_PATH) -> Environment:
    """Load the environment of that name from the file and the operator's.

    Raises Refusal, naming the file, for an unknown name, file or key, a bad URL or variable.
    """
    path = Path(path)
    known = check_name(name, SECTIONED)
    base = path.absolute().parent
    variables = Variables(base, known)
    section = environment_files.read(path, variables.find(environment_files.VARIABLE), known, NAMES)
    if known not in section.names:
        raise Refusal(
            f"a section [{known}]",
            ", ".join(f"[{name}]" for name in section.names) or "none",
            where=str(path),
            do="Name another: --env test is for the tasks transfer and gate, which start a server of their own."
            if known == THROWAWAY
            else f"Write [{known}] into it; [staging] of the project's own file shows every key.",
        )
    if unknown := sorted(NOT_FROM_THE_FILE & section.values.keys()):
        raise together(_unknown_key(key, section.place(key)) for key in unknown)
    _require_own_target(section)
    expanding = (partial(expand, value, variables, section.where, key) for key, value in section.values.items())
    values = dict(zip(section.values, all_of(expanding), strict=True))
    values |= {"name": known, "variables": variables.of_files}
    try:
        environment = TypeAdapter(Environment).validate_python(values, context={"base": base})
    except ValidationError as error:
        raise _refusal(error, section) from None
    if environment.target.schema != environment.target_direct.schema:
        raise Refusal(
            "one schema in target and target_direct",
            f"{environment.target.schema} and {environment.target_direct.schema}",
            where=section.place(f"target{'' if section.has_own('target') else '_direct'}"),
            do="Write one ?schema= into both.",
        )
    if known == DEVELOPMENT:
        environment = replace(
            environment,
            target=environment.target.with_(started_by=STARTS_DEVELOPMENT),
            target_direct=environment.target_direct.with_(started_by=STARTS_DEVELOPMENT),
        )
    # Checked before any tool begins: during a move, a refused connection would look like a server that is down.
    for url in (environment.target, environment.target_direct):
        check_libpq(url.parameters, where=url.redacted)
    return replace(environment, files_read=section.read(variables.files, _default))


def check_name(name: str | None, offered: Sequence[str] = NAMES) -> str:
    """Return the name if it is an environment's. Raises Refusal, which names the choices that the task offers."""
    if name not in NAMES:
        choices = " | ".join(offered)
        raise Refusal(f"--env {choices}", f"--env {name}" if name else "no --env", do="Name one of them with --env.")
    return name


def throwaway(*, owner: PostgresUrl, service: PostgresUrl, legacy: Path, folder: Path, **more: Any) -> Environment:
    """Make the environment `test` on the caller's server; all its files stand in the folder. `more`: other fields."""
    fields: dict[str, Any] = {
        "pointer": Pointer(folder / "service.env"),
        "snapshots": SnapshotPlan(folder / "snapshots"),
        **more,
    }
    return Environment(
        name=THROWAWAY, legacy=LegacyUrl(legacy.absolute()), target=service, target_direct=owner, **fields
    )


def guard_destructive(name: str) -> None:
    """Raise Refusal unless what is there may be thrown away: reset and seed ask this before any variable is read."""
    if name not in DESTRUCTIBLE:
        raise Refusal(
            f"--env {DEVELOPMENT}",
            f"--env {name}" if name else "no --env",
            do=f"Name it with --env {DEVELOPMENT}: players own what is in the others.",
        )


def is_durable(name: str) -> bool:
    """Return True if the environment's data must survive a crash of its machine."""
    return name not in DESTRUCTIBLE


def secret(name: str, base: Path = Path()) -> str | None:
    """Return a secret of the tools' own, such as GATE_SIGNING_KEY: exported, or in .env; None where it is not set."""
    return os.environ.get(name) or private.variables(base / ".env").get(name) or None


def step_summary() -> Path | None:
    """Return the file where GitHub's runner takes Markdown about the step under way; None elsewhere."""
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(named) if named else None


def child_variables(settings: Mapping[str, str] = {}, *, secrets: Collection[str] = ()) -> dict[str, str]:
    """Return the environment for a process of ours: this one's, with the settings added.

    Left out are libpq's variables and every secret (`game.redaction`) but those named in `secrets`: libpq.KEPT, say.
    """
    variables = libpq.without(os.environ).items()
    return {**{name: value for name, value in variables if name in secrets or not is_secret(name, value)}, **settings}


def check_libpq(parameters: Iterable[tuple[str, str]], *, where: str) -> None:
    """Raise Refusal if a variable is exported that libpq would read besides these parameters of a URL."""
    names = libpq.refused(os.environ, parameters)
    if names:
        raise Refusal(
            "an environment without libpq's own variables", ", ".join(names), where=where, do=libpq.remedy(names)
        )


def is_exported(name: str) -> bool:
    """Return True if the variable is in this process's environment, which wins over any file."""
    return name in os.environ


def operator_token(environment: Environment) -> str:
    """Return the token with which the service lets anyone act for any player. Refusal without one."""
    return _secret_of_the_service(environment, "OPERATOR_TOKEN", "for the smoke behind the fence")


def token_secret(environment: Environment) -> str:
    """Return the secret that the players' bearer tokens follow from. Raises Refusal without one."""
    return _secret_of_the_service(environment, "TOKEN_SECRET", "which players' tokens follow from")


def of_the_service(environment: Environment, name: str) -> str:
    """Return a setting as the service has it: exported, or in the file of the pointer; "" without one."""
    return os.environ.get(name) or service_file.values(environment.pointer.path).get(name) or ""


def pool_size(environment: Environment) -> int:
    """Return the connections of each service process, from the pointer's file. Raises Refusal if they are no number."""
    path = environment.pointer.path
    setting = service_file.values(path).get("POOL_SIZE") if path.exists() else None
    size = setting or str(Settings.model_fields["pool_size"].default)
    if not size.isdecimal():
        raise Refusal("POOL_SIZE of digits", "another", where=str(path), do="Write a number, such as POOL_SIZE=10.")
    return int(size)


def _secret_of_the_service(environment: Environment, name: str, purpose: str) -> str:
    """Return a secret of the service's. Refusal without one."""
    value = of_the_service(environment, name)
    if not value:
        raise Refusal(
            f"{name}, {purpose}",
            "none",
            where=str(environment.pointer.path),
            do=f"Give {name} a value of 16 characters or more in this file, and restart the service.",
        )
    return value


def become(argv: Sequence[str], settings: Mapping[str, str]) -> NoReturn:
    """Replace this process by the service, with the settings exported to it besides what is exported already."""
    os.execve(
        argv[0], list(argv), child_variables(settings, secrets={*libpq.KEPT, *map(str.upper, Settings.model_fields)})
    )


def _require_own_target(section: environment_files.Section) -> None:
    """Raise Refusal if a store's URL uses the pointer: after a cutover it would name the other store."""
    pointer = section.values.get("pointer")
    variable = pointer.get("variable", "DATABASE_URL") if isinstance(pointer, dict) else "DATABASE_URL"
    for key in ("target", "target_direct", "legacy"):
        if variable in (match["name"] for match in VARIABLE.finditer(str(section.values.get(key, "")))):
            raise Refusal(
                f"a variable of its own in {key}",
                f"${{{variable}}}, the pointer that the service follows",
                where=section.where(key),
                do="Keep the store's URL in another variable.",
            )


def _refusal(error: ValidationError, section: environment_files.Section) -> Refusal:
    """Return all that is wrong, unknown keys before the rest, without the values: they may hold secrets."""
    faults = error.errors(include_url=False, include_input=False)
    return together(_refused(fault, section) for fault in sorted(faults, key=lambda one: one["type"] != UNKNOWN_KEY))


def _refused(fault: ErrorDetails, section: environment_files.Section) -> Refusal:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == UNKNOWN_KEY:
        return _unknown_key(key, section.place(key))
    if fault["type"] == "missing":
        return Refusal(f"the key {key}", "none", where=section.place(key), do="Write it: [staging] shows every key.")
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, _Amiss):
        return Refusal(cause.expected, cause.found, where=section.where(key), do=_CORRECT)
    expected = fault["msg"].removeprefix("Input should be ")
    return Refusal(expected, "another value", where=section.where(key), do=_CORRECT)


def _unknown_key(key: str, where: str) -> Refusal:
    return Refusal(
        f"keys out of {', '.join(_keys(key.rpartition('.')[0]))}",
        f"the unknown key {key}",
        where=where,
        do="Correct how it is spelt, or take it out.",
    )


_OWNERS: Mapping[str, type[Strict]] = {
    "": Environment,
    "pointer": Pointer,
    "hooks": Hooks,
    "snapshots": SnapshotPlan,
    "policy": Policy,
    "watch": WatchPlan,
    "provider": ProviderPlan,
    "provider.stated": Stated,
}


def _keys(parent: str) -> list[str]:
    return [key for key in inspect.signature(_OWNERS[parent]).parameters if parent or key not in NOT_FROM_THE_FILE]


def _default(key: str) -> object:
    """Return what a key is where no file says it; None if it must be said."""
    parent, _, name = key.rpartition(".")
    owner = _OWNERS.get(parent)  # None: of keys that the operator chooses, as in watch.limits.
    default = inspect.signature(owner).parameters[name].default if owner else None
    return None if default is inspect.Parameter.empty else default
