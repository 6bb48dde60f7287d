"""Tables of an environment that name neither a path nor a database: hooks, the provider, and what is stated of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field

ProviderName = Literal["rds", "cloud-sql", "supabase", "render", "plain"]
PROVIDER_NAMES: tuple[ProviderName, ...] = get_args(ProviderName)

_Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Strict:
    """A key that nobody reads would be a setting that nobody honours."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True)
class Hooks(Strict):
    """Shell commands that the cutover runs; None where there is nothing to run."""

    deploy: str | None = None
    drain: str | None = None
    restart: str | None = None
    health: str | None = None


@dataclass(frozen=True)
class Stated(Strict):
    """Facts that the operator states of the provider. None: nothing is stated. Nothing here is checked."""

    vcpus: _Count | None = None
    memory_gb: _Count | None = None
    daily_snapshot: bool | None = None
    pitr: bool | None = None
    retention_days: _Count | None = None
    encrypted: bool | None = None
    deletion_protection: bool | None = None

    @property
    def values(self) -> Mapping[str, float | bool]:
        """Return what is stated, by its key."""
        every = ((each.name, getattr(self, each.name)) for each in dataclasses.fields(self))
        return {name: value for name, value in every if value is not None}


@dataclass(frozen=True)
class ProviderPlan(Strict):
    """The provider of the server, and the server's name there. plain: a server of the operator's own."""

    name: ProviderName = "plain"
    instance: str = ""
    region: str = ""
    stated: Stated = field(default_factory=Stated)
