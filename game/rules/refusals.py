"""Refusals: every code with which the rules say no, its HTTP status and what the player is told, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class RefusalCode:
    """A code's HTTP status, its title (English, for who calls the service) and its message (Korean, for the player)."""

    status: HTTPStatus
    title: str
    message: str


_BAD = HTTPStatus.UNPROCESSABLE_ENTITY
_FORBIDDEN = HTTPStatus.FORBIDDEN
_MISSING = HTTPStatus.NOT_FOUND
_CONFLICT = HTTPStatus.CONFLICT
_GONE = HTTPStatus.GONE

REFUSALS: Mapping[str, RefusalCode] = {
    # Of any command.
    "no_such_player": RefusalCode(_MISSING, "There is no such player.", "플레이어를 찾을 수 없습니다."),
    "player_held": RefusalCode(
        HTTPStatus.LOCKED,
        "The player's data is held until someone looks at it.",
        "계정 데이터를 확인하는 중입니다. 고객센터에 문의해 주세요.",
    ),
    "document_unreadable": RefusalCode(
        HTTPStatus.LOCKED,
        "The data that the action would change can't be read. It is kept unchanged until someone looks at it.",
        "저장된 정보를 읽을 수 없어 처리할 수 없습니다. 고객센터에 문의해 주세요.",
    ),
    "request_reused": RefusalCode(
        _BAD, "The idempotency key was used for another request.", "이미 다른 요청에 사용된 요청 번호입니다."
    ),
    "balance_too_high": RefusalCode(
        _CONFLICT, "It would exceed the limit of what a player can hold.", "보유 한도를 초과하여 처리할 수 없습니다."
    ),
    "not_enough_gold": RefusalCode(_CONFLICT, "There is not enough gold.", "골드가 부족합니다."),
    "not_enough_diamonds": RefusalCode(_CONFLICT, "There are not enough diamonds.", "다이아가 부족합니다."),
    "not_enough_action_points": RefusalCode(_CONFLICT, "There are not enough action points.", "행동력이 부족합니다."),
    "not_enough_material": RefusalCode(_CONFLICT, "There is not enough material.", "재료가 부족합니다."),
    "level_too_low": RefusalCode(_FORBIDDEN, "The player's level is too low.", "레벨이 부족합니다."),
    # The bag.
    "bag_full": RefusalCode(_CONFLICT, "The bag has no room for it; nothing was granted.", "가방이 가득 찼습니다."),
    "bag_at_limit": RefusalCode(
        _CONFLICT, "The bag can't be expanded any further.", "가방을 더 이상 확장할 수 없습니다."
    ),
    "no_such_item": RefusalCode(_MISSING, "There is no such item.", "아이템을 찾을 수 없습니다."),
    "not_a_bundle": RefusalCode(_BAD, "The item is not a bundle.", "열 수 있는 꾸러미가 아닙니다."),
    "cannot_be_sold": RefusalCode(_BAD, "The item can't be sold.", "판매할 수 없는 아이템입니다."),
    # Rewards.
    "no_such_mail": RefusalCode(_MISSING, "The player has no such mail.", "우편을 찾을 수 없습니다."),
    "already_claimed": RefusalCode(_CONFLICT, "The reward was already claimed.", "이미 수령한 보상입니다."),
    "mail_expired": RefusalCode(_GONE, "The mail has expired.", "수령 기한이 지난 우편입니다."),
    "mail_unclaimed": RefusalCode(
        _CONFLICT,
        "The mail has an unclaimed attachment, so it can't be deleted.",
        "수령하지 않은 첨부물이 있는 우편은 삭제할 수 없습니다.",
    ),
    "nothing_to_claim": RefusalCode(_CONFLICT, "There is nothing to claim.", "수령할 보상이 없습니다."),
    "no_such_quest": RefusalCode(_MISSING, "The player has no such quest.", "퀘스트를 찾을 수 없습니다."),
    "quest_unfinished": RefusalCode(_CONFLICT, "The quest is not finished.", "아직 완료하지 않은 퀘스트입니다."),
    "quest_expired": RefusalCode(_GONE, "The quest's period is over.", "기간이 지난 퀘스트입니다."),
    "reward_unreadable": RefusalCode(
        _CONFLICT,
        "The reward can't be read; nothing was granted.",
        "보상 정보를 읽을 수 없습니다. 고객센터에 문의해 주세요.",
    ),
    "no_such_milestone": RefusalCode(
        _MISSING, "The player has no milestones of this period.", "활약도 보상을 찾을 수 없습니다."
    ),
    "milestone_unreached": RefusalCode(_CONFLICT, "The milestone is not reached.", "활약도가 부족합니다."),
    "milestone_expired": RefusalCode(_GONE, "The milestone's period is over.", "기간이 지난 활약도 보상입니다."),
    # Equipment.
    "not_equipment": RefusalCode(_BAD, "The item is not equipment.", "장비 아이템이 아닙니다."),
    "already_worn": RefusalCode(_CONFLICT, "The item is already worn.", "이미 착용 중인 장비입니다."),
    "slot_empty": RefusalCode(_CONFLICT, "Nothing is worn in the slot.", "착용 중인 장비가 없습니다."),
    "item_is_worn": RefusalCode(
        _CONFLICT, "The item is worn; take it off first.", "착용 중인 장비입니다. 먼저 해제해 주세요."
    ),
    "no_such_preset": RefusalCode(_MISSING, "The player has no such preset.", "장비 프리셋을 찾을 수 없습니다."),
    "preset_item_gone": RefusalCode(
        _CONFLICT, "An item of the preset is gone.", "프리셋에 저장된 장비가 더 이상 없습니다."
    ),
    "too_many_presets": RefusalCode(
        _CONFLICT, "The player can't save any more presets.", "프리셋을 더 이상 저장할 수 없습니다."
    ),
    # The forge.
    "max_stars": RefusalCode(
        _CONFLICT, "The item already has the maximum number of stars.", "이미 최대로 강화된 장비입니다."
    ),
    "same_item_twice": RefusalCode(_BAD, "The same item is named twice.", "같은 장비를 두 번 선택할 수 없습니다."),
    "grades_differ": RefusalCode(
        _BAD, "The items are not of the same grade.", "같은 등급의 장비만 합성할 수 있습니다."
    ),
    "forge_level_too_low": RefusalCode(_FORBIDDEN, "The forge's level is too low.", "대장간 레벨이 부족합니다."),
    "not_material": RefusalCode(_BAD, "The item is not a material.", "재료 아이템이 아닙니다."),
    "top_tier": RefusalCode(_CONFLICT, "There is no higher tier.", "더 높은 단계의 재료가 없습니다."),
    "bottom_tier": RefusalCode(_CONFLICT, "There is no lower tier.", "더 낮은 단계의 재료가 없습니다."),
    # Tournaments.
    "no_tournament": RefusalCode(_MISSING, "There is no tournament of this kind.", "진행 중인 대회가 없습니다."),
    "already_finished": RefusalCode(_CONFLICT, "The tournament is already finished.", "이미 종료된 대회입니다."),
    "not_finished": RefusalCode(_CONFLICT, "The tournament is not finished.", "아직 종료되지 않은 대회입니다."),
    "already_played_today": RefusalCode(
        _CONFLICT, "It was already played today; it can be played again tomorrow.", "오늘은 이미 참가한 대회입니다."
    ),
    "reward_unclaimed": RefusalCode(
        _CONFLICT, "The reward of the last tournament must be claimed first.", "지난 대회의 보상을 먼저 수령해 주세요."
    ),
    # Single play.
    "no_such_stage": RefusalCode(_MISSING, "There is no such stage.", "스테이지를 찾을 수 없습니다."),
    "stage_locked": RefusalCode(
        _FORBIDDEN, "The previous stage is not cleared.", "이전 스테이지를 먼저 완료해 주세요."
    ),
    "no_such_mission": RefusalCode(_MISSING, "There is no such mission.", "수련 과제를 찾을 수 없습니다."),
    "mission_locked": RefusalCode(
        _FORBIDDEN, "The stage that opens the mission is not cleared.", "아직 열리지 않은 수련 과제입니다."
    ),
    "mission_not_started": RefusalCode(_CONFLICT, "The mission is not started.", "시작하지 않은 수련 과제입니다."),
    "already_started": RefusalCode(_CONFLICT, "The mission is already started.", "이미 시작한 수련 과제입니다."),
    "nothing_to_collect": RefusalCode(_CONFLICT, "There is nothing to collect.", "수령할 생산량이 없습니다."),
    "mission_at_top": RefusalCode(
        _CONFLICT, "The mission is at its highest level.", "이미 최고 레벨인 수련 과제입니다."
    ),
    "not_enough_collected": RefusalCode(
        _CONFLICT, "Not enough was collected at this level.", "레벨 업에 필요한 누적 수령량이 부족합니다."
    ),
}


def page() -> str:
    """Return the table as the text of docs/refusals.md."""
    rows = [
        f"| `{code}` | {refusal.status.value} | {refusal.title} | {refusal.message} |"
        for code, refusal in REFUSALS.items()
    ]
    return "\n".join(
        [
            "# Refusals",
            "",
            "The answers when a rule refuses a request. Nothing was changed and no receipt was kept, so the client may",
            "ask again. `game.rules.refusals.page` writes this page. Codes are stable; texts may change.",
            "",
            "| code | HTTP status | title | what the player is told |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
