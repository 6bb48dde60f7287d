"""One module an area, one function a command; `perform` finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from game.errors import Refused
from game.rules import commands
from game.rules.actions import bag, equip, forge, reward, solo, tournament
from game.rules.actions.outcome import Outcome
from game.rules.json_columns import UNREADABLE_KEY
from game.rules.player import Player

__all__ = ["ACTIONS", "Outcome", "perform"]

ACTIONS: dict[type[commands.Command], Callable[[Player, Any], Outcome]] = {
    commands.ClaimMail: reward.claim_mail,
    commands.ClaimAllMail: reward.claim_all_mail,
    commands.DeleteMail: reward.delete_mail,
    commands.ClaimQuest: reward.claim_quest,
    commands.ClaimMilestone: reward.claim_milestone,
    commands.Equip: equip.equip,
    commands.Unequip: equip.unequip,
    commands.SavePreset: equip.save_preset,
    commands.ApplyPreset: equip.apply_preset,
    commands.Enhance: forge.enhance,
    commands.Combine: forge.combine,
    commands.Disassemble: forge.disassemble,
    commands.Convert: forge.convert,
    commands.StartTournament: tournament.start_tournament,
    commands.FinishTournament: tournament.finish_tournament,
    commands.ClaimTournamentReward: tournament.claim_tournament_reward,
    commands.ClearStage: solo.clear_stage,
    commands.StartMission: solo.start_mission,
    commands.CollectMission: solo.collect_mission,
    commands.CollectAllMissions: solo.collect_all_missions,
    commands.LevelUpMission: solo.level_up_mission,
    commands.OpenBundle: bag.open_bundle,
    commands.SellItem: bag.sell_item,
    commands.ExpandBag: bag.expand_bag,
}


def perform(player: Player, command: commands.Command) -> Outcome:
    """Carry out the command on the player's rows; the outcome is what the client is told. Raises Refused.

    Raises Refused document_unreadable if a table of the command comes from a legacy document that can't be read.
    """
    # The rules would take that document for an empty one, and overwrite it with what they add.
    for table in command.tables:
        if (player.id, UNREADABLE_KEY) in player.rows.get(table, {}):
            raise Refused("document_unreadable", table)
    return ACTIONS[type(command)](player, command)
