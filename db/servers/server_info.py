"""Connection info of a running server: enough to use it from another process, as xdist's workers do."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

Role = Literal["owner", "service", "superuser"]
ROLES: tuple[Role, ...] = get_args(Role)

NO_TLS = (("sslmode", "disable"),)
"""A throwaway server has none: not to ask spares each connection a round trip, and PGSSLMODE does no harm."""

NAMES = {"owner": "sudamr_owner", "service": "sudamr_service", "superuser": "postgres"}


@dataclass(frozen=True)
class Login:
    """A role of the server; passwords are random and die with it."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ServerInfo:
    """The address of a server, its logins, and the folder of its programs."""

    kind: str
    run: str
    host: str
    port: int
    logins: dict[Role, Login]
    maintenance: str = "postgres"
    parameters: tuple[tuple[str, str], ...] = ()
    programs: str | None = None
    container: str | None = None
    remains: str = ""
    version: str = ""
    why: str = ""

    @property
    def mark(self) -> str:
        """Return the prefix of the names of everything that this run makes."""
        return f"sudamr_{self.run}_"

    def as_text(self) -> str:
        """Write it as JSON, with the passwords: for another process of ours alone."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> ServerInfo:
        """Return the info that `as_text` wrote."""
        fields = json.loads(text)
        logins = {role: Login(**login) for role, login in fields.pop("logins").items()}
        parameters = tuple((name, value) for name, value in fields.pop("parameters"))
        return cls(logins=logins, parameters=parameters, **fields)


def new_run() -> str:
    """Return a run's id: eight letters and digits, in the name of all that the run makes."""
    return secrets.token_hex(4)


def new_logins(run: str = "") -> dict[Role, Login]:
    """Return names with fresh passwords; a run's id is added where the server is not ours alone."""
    suffix = f"_{run}" if run else ""
    return {role: Login(NAMES[role] + suffix, secrets.token_urlsafe(24)) for role in ROLES}
