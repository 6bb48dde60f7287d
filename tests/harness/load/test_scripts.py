"""Scripts are mostly granted, and have commands of many kinds."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

from db.samples import seed
from game.dispatch import Request, dispatch
from game.errors import Refused
from game.legacy.store import LegacyStore
from game.rules.chance import Chance
from game.rules.commands import decode
from harness.load import scripts

NOW_MS = 1_770_000_000_000


def test_scripts_are_mostly_granted_and_of_many_kinds(tmp_path: Path) -> None:
    path = tmp_path / "game.db"
    seed.seed_legacy(path, 16, seed=2, anomalies=False)
    ended: Counter[str] = Counter()
    granted = set()
    with closing(LegacyStore(path)) as store:
        planned = scripts.read(path, players=20)
        for player, script in planned.items():
            for n, (action, fields) in enumerate(script):
                request = Request(player, f"r{n}", decode(action, fields))
                try:
                    dispatch(store, request, clock=lambda: NOW_MS, chance=lambda key: Chance("secret", key))
                except Refused:
                    ended["refused"] += 1
                else:
                    ended["granted"] += 1
                    granted.add(action)
    assert len(planned) == 8
    assert ended["granted"] > 20 * len(planned)
    assert ended["granted"] > 4 * ended["refused"]
    assert granted == {
        "apply_preset",
        "claim_mail",
        "claim_tournament_reward",
        "delete_mail",
        "enhance",
        "equip",
        "expand_bag",
        "finish_tournament",
        "open_bundle",
        "save_preset",
        "sell_item",
        "start_mission",
        "unequip",
    }


def test_a_player_of_whom_not_all_can_be_read_has_a_script(tmp_path: Path) -> None:
    """Of such a document there are no rows, or one that says that it can't be read."""
    path = tmp_path / "game.db"
    seed.seed_legacy(path, 500)
    planned = scripts.read(path, players=42)
    assert len(planned) > 30
    assert all(planned.values())
