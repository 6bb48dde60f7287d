"""The commands of players: one frozen dataclass an action, which declares the tables that it loads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from game.errors import BadRequest

TournamentKind = Literal["neighborhood", "national", "world"]
Slot = Literal["fan", "board", "top", "bottom", "bowl", "stones"]
Period = Literal["daily", "weekly", "monthly"]
Milestone = Literal[20, 40, 60, 80, 100]
ItemType = Literal["equipment", "material", "consumable"]
Direction = Literal["up", "down"]


def _encodable(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a lone surrogate is no text")
    return text


def _whole_number(value: object) -> object:
    """Return the whole number. Raises ValueError for 1.0 and true."""
    # Pydantic would take both for numbers, and a receipt has to keep of a command what was sent.
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number is expected")  # noqa: TRY004 - pydantic turns only ValueError into its own
    return value


# As patterns, so that the OpenAPI document says so too: Postgres holds no NUL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$"), AfterValidator(_encodable)]
PresetName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=30,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    ),
    AfterValidator(_encodable),
]
Number = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]
Flag = Annotated[bool, Field(strict=True)]


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands. `tables` are loaded beside the player's own row, and no others; `draws` name its dice.

    outcome: the fields of its answer when it is granted.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    action: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]
    outcome: ClassVar[tuple[str, ...]]
    draws: ClassVar[tuple[str, ...]] = ()

    def body(self) -> str:
        """Return the command as canonical JSON, kept by a receipt: an id reused for another body is noticed."""
        return json.dumps([self.action, dataclasses.asdict(self)], ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, slots=True)
class ClaimMail(Command):
    action: ClassVar[str] = "claim_mail"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_mail")
    outcome: ClassVar[tuple[str, ...]] = ("gold", "diamonds", "action_points", "items")
    mail: Text


@dataclass(frozen=True, slots=True)
class ClaimAllMail(Command):
    action: ClassVar[str] = "claim_all_mail"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_mail")
    outcome: ClassVar[tuple[str, ...]] = ("mails", "gold", "diamonds", "action_points", "items")


@dataclass(frozen=True, slots=True)
class DeleteMail(Command):
    action: ClassVar[str] = "delete_mail"
    tables: ClassVar[tuple[str, ...]] = ("user_mail",)
    outcome: ClassVar[tuple[str, ...]] = ("mail",)
    mail: Text


@dataclass(frozen=True, slots=True)
class ClaimQuest(Command):
    action: ClassVar[str] = "claim_quest"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_quests", "user_milestones")
    outcome: ClassVar[tuple[str, ...]] = ("gold", "diamonds", "action_points", "xp", "items", "activity_points")
    period: Period
    quest: Text


@dataclass(frozen=True, slots=True)
class ClaimMilestone(Command):
    action: ClassVar[str] = "claim_milestone"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_milestones")
    outcome: ClassVar[tuple[str, ...]] = ("items",)
    period: Period
    milestone: Annotated[Milestone, BeforeValidator(_whole_number)]


@dataclass(frozen=True, slots=True)
class Equip(Command):
    action: ClassVar[str] = "equip"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment")
    outcome: ClassVar[tuple[str, ...]] = ("slot", "item", "replaced")
    item: Text


@dataclass(frozen=True, slots=True)
class Unequip(Command):
    action: ClassVar[str] = "unequip"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment")
    outcome: ClassVar[tuple[str, ...]] = ("slot", "item")
    slot: Slot


@dataclass(frozen=True, slots=True)
class SavePreset(Command):
    action: ClassVar[str] = "save_preset"
    tables: ClassVar[tuple[str, ...]] = ("user_equipment", "user_equipment_presets")
    outcome: ClassVar[tuple[str, ...]] = ("name", "equipment")
    name: PresetName


@dataclass(frozen=True, slots=True)
class ApplyPreset(Command):
    action: ClassVar[str] = "apply_preset"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment", "user_equipment_presets")
    outcome: ClassVar[tuple[str, ...]] = ("worn",)
    name: Text


@dataclass(frozen=True, slots=True)
class Enhance(Command):
    action: ClassVar[str] = "enhance"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory",)
    outcome: ClassVar[tuple[str, ...]] = ("success", "stars")
    draws: ClassVar[tuple[str, ...]] = ("success", "xp", "sub.type", "sub.value", "sub.index")
    item: Text


@dataclass(frozen=True, slots=True)
class Combine(Command):
    action: ClassVar[str] = "combine"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment")
    outcome: ClassVar[tuple[str, ...]] = ("success", "item", "name", "slot", "grade")
    draws: ClassVar[tuple[str, ...]] = ("success", "slot", "xp", "mythic.type", "mythic.value")
    items: tuple[Text, Text, Text]
    random: Flag = False


@dataclass(frozen=True, slots=True)
class Disassemble(Command):
    action: ClassVar[str] = "disassemble"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment")
    outcome: ClassVar[tuple[str, ...]] = ("items", "jackpot")
    draws: ClassVar[tuple[str, ...]] = ("share", "jackpot", "xp")
    item: Text


@dataclass(frozen=True, slots=True)
class Convert(Command):
    action: ClassVar[str] = "convert"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory",)
    outcome: ClassVar[tuple[str, ...]] = ("spent", "items", "jackpot")
    draws: ClassVar[tuple[str, ...]] = ("number", "jackpot")
    material: Text
    to: Direction
    times: Annotated[Number, Field(le=100)] = 1


@dataclass(frozen=True, slots=True)
class StartTournament(Command):
    action: ClassVar[str] = "start_tournament"
    tables: ClassVar[tuple[str, ...]] = ("user_tournaments",)
    outcome: ClassVar[tuple[str, ...]] = ("status",)
    kind: TournamentKind


@dataclass(frozen=True, slots=True)
class FinishTournament(Command):
    action: ClassVar[str] = "finish_tournament"
    tables: ClassVar[tuple[str, ...]] = ("user_tournaments",)
    outcome: ClassVar[tuple[str, ...]] = ("rank", "score")
    draws: ClassVar[tuple[str, ...]] = ("rank",)
    kind: TournamentKind


@dataclass(frozen=True, slots=True)
class ClaimTournamentReward(Command):
    action: ClassVar[str] = "claim_tournament_reward"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_tournaments")
    outcome: ClassVar[tuple[str, ...]] = ("gold", "items")
    kind: TournamentKind


@dataclass(frozen=True, slots=True)
class ClearStage(Command):
    action: ClassVar[str] = "clear_stage"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_stages")
    outcome: ClassVar[tuple[str, ...]] = ("first", "gold", "xp", "items")
    stage: Text


@dataclass(frozen=True, slots=True)
class StartMission(Command):
    action: ClassVar[str] = "start_mission"
    tables: ClassVar[tuple[str, ...]] = ("user_missions", "user_stages")
    outcome: ClassVar[tuple[str, ...]] = ("level",)
    mission: Text


@dataclass(frozen=True, slots=True)
class CollectMission(Command):
    action: ClassVar[str] = "collect_mission"
    tables: ClassVar[tuple[str, ...]] = ("user_missions",)
    outcome: ClassVar[tuple[str, ...]] = ("missions", "gold", "diamonds")
    mission: Text


@dataclass(frozen=True, slots=True)
class CollectAllMissions(Command):
    action: ClassVar[str] = "collect_all_missions"
    tables: ClassVar[tuple[str, ...]] = ("user_missions",)
    outcome: ClassVar[tuple[str, ...]] = ("missions", "gold", "diamonds")


@dataclass(frozen=True, slots=True)
class LevelUpMission(Command):
    action: ClassVar[str] = "level_up_mission"
    tables: ClassVar[tuple[str, ...]] = ("user_missions", "user_stages")
    outcome: ClassVar[tuple[str, ...]] = ("level", "amount")
    mission: Text


@dataclass(frozen=True, slots=True)
class OpenBundle(Command):
    action: ClassVar[str] = "open_bundle"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory",)
    outcome: ClassVar[tuple[str, ...]] = ("gold", "diamonds")
    draws: ClassVar[tuple[str, ...]] = ("amount",)
    item: Text


@dataclass(frozen=True, slots=True)
class SellItem(Command):
    action: ClassVar[str] = "sell_item"
    tables: ClassVar[tuple[str, ...]] = ("user_inventory", "user_equipment")
    outcome: ClassVar[tuple[str, ...]] = ("gold",)
    item: Text
    quantity: Number = 1


@dataclass(frozen=True, slots=True)
class ExpandBag(Command):
    action: ClassVar[str] = "expand_bag"
    tables: ClassVar[tuple[str, ...]] = ()
    outcome: ClassVar[tuple[str, ...]] = ("type", "places")
    type: ItemType


COMMANDS: dict[str, type[Command]] = {
    command.action: command
    for command in (
        ClaimMail,
        ClaimAllMail,
        DeleteMail,
        ClaimQuest,
        ClaimMilestone,
        Equip,
        Unequip,
        SavePreset,
        ApplyPreset,
        Enhance,
        Combine,
        Disassemble,
        Convert,
        StartTournament,
        FinishTournament,
        ClaimTournamentReward,
        ClearStage,
        StartMission,
        CollectMission,
        CollectAllMissions,
        LevelUpMission,
        OpenBundle,
        SellItem,
        ExpandBag,
    )
}

_ADAPTERS = {action: TypeAdapter(command) for action, command in COMMANDS.items()}


def decode(action: str, fields: Mapping[str, object]) -> Command:
    """Return the command that `action` and its fields name. BadRequest says which field is wrong, and why."""
    if action not in _ADAPTERS:
        raise BadRequest(f"unknown action {action!r}; expected one of {', '.join(COMMANDS)}")
    try:
        return _ADAPTERS[action].validate_python(dict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "fields"
        raise BadRequest(f"{action}: {where}: {first['msg']}") from None
