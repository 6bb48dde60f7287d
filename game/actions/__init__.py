"""One module an area, one function a command; `perform` finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from game import commands
from game.actions.equip import equip, unequip
from game.actions.forge import enhance
from game.actions.reward import Outcome, claim_mail
from game.actions.tournament import claim_tournament_reward, finish_tournament
from game.player import Player

__all__ = ["ACTIONS", "Outcome", "perform"]

ACTIONS: dict[type[commands.Command], Callable[[Player, Any], Outcome]] = {
    commands.ClaimMail: claim_mail,
    commands.Equip: equip,
    commands.Unequip: unequip,
    commands.Enhance: enhance,
    commands.FinishTournament: finish_tournament,
    commands.ClaimTournamentReward: claim_tournament_reward,
}


def perform(player: Player, command: commands.Command) -> Outcome:
    """Carry out the command on the player's rows; the outcome is what the client is told. Raises Refused."""
    return ACTIONS[type(command)](player, command)
