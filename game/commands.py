"""What players ask for: one frozen dataclass an action, declaring the tables that it loads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from game.errors import BadRequest

TournamentKind = Literal["neighborhood", "national", "world"]
Slot = Literal["fan", "board", "top", "bottom", "bowl", "stones"]


Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
"""What Postgres can hold as text: a lone surrogate is refused with the JSON that it stands in."""


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands. `tables` are loaded beside the player's own row, and no others."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    action: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]

    def body(self) -> str:
        """The command as canonical JSON: what a receipt keeps, so that an id reused for another body is noticed."""
        return json.dumps([self.action, dataclasses.asdict(self)], ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, slots=True)
class ClaimMail(Command):
    action: ClassVar[str] = "claim_mail"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_mail")
    mail: Text


@dataclass(frozen=True, slots=True)
class Equip(Command):
    action: ClassVar[str] = "equip"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment")
    item: Text


@dataclass(frozen=True, slots=True)
class Unequip(Command):
    action: ClassVar[str] = "unequip"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment")
    slot: Slot


@dataclass(frozen=True, slots=True)
class Enhance(Command):
    action: ClassVar[str] = "enhance"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory",)
    item: Text


@dataclass(frozen=True, slots=True)
class FinishTournament(Command):
    action: ClassVar[str] = "finish_tournament"
    tables: ClassVar[tuple[str, ...]] = ("user_tournaments",)
    kind: TournamentKind


@dataclass(frozen=True, slots=True)
class ClaimTournamentReward(Command):
    action: ClassVar[str] = "claim_tournament_reward"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_tournaments")
    kind: TournamentKind


COMMANDS: dict[str, type[Command]] = {
    command.action: command for command in (ClaimMail, Equip, Unequip, Enhance, FinishTournament, ClaimTournamentReward)
}

_ADAPTERS = {action: TypeAdapter(command) for action, command in COMMANDS.items()}


def decode(action: str, fields: Mapping[str, object]) -> Command:
    """The command that `action` and its fields name; BadRequest says which field is wrong and what was expected."""
    if action not in _ADAPTERS:
        raise BadRequest(f"unknown action {action!r}; expected one of {', '.join(COMMANDS)}")
    try:
        # As JSON, whose lists are tuples here; strictly, or "5" and true would be numbers.
        return _ADAPTERS[action].validate_json(json.dumps(dict(fields)), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "fields"
        raise BadRequest(f"{action}: {where}: {first['msg']}") from None
