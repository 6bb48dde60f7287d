"""The stores' side of a history: each player at the start and at the end, and the newest number at each switch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from db import ops
from game.legacy import numbering, sqlite_values
from game.rows import Rows
from game.rules.chance import Chance
from game.unit_of_work import Store
from game.urls import LegacyUrl, PostgresUrl
from harness.history.checking import Draws, Judged, PlayerHistory, check
from harness.history.client_log import ClientRequest

_ON_POSTGRES = "select id, seq from users where seq > 0"
_ON_FILE = f"SELECT user_id, max(seq) FROM {numbering.RECEIPTS} WHERE seq IS NOT NULL GROUP BY user_id"
_HAS_RECEIPTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


class HistoryRecorder:
    """Reads the players of a run before it begins, notes each switch, and judges as often as it is asked.

    store: on which the run begins; it is only read, whole, some 5 ms a player. chance: the draws of a request's id.
    """

    def __init__(self, store: Store, players: Iterable[str], chance: Callable[[str], Chance]) -> None:
        self._chance = chance
        self._starts = {player: store.read(player) or Rows() for player in players}
        self._heads: list[Mapping[str, int]] = []
        self._epochs = [self._epoch(store)]

    def switched(self, heads: Mapping[str, int]) -> None:
        """Note the newest number of each player on the store that is being left, once it takes no more writes."""
        self._heads.append(heads)

    def played_on(self, store: Store) -> None:
        """Note the draw epoch of the store on which players play from now on, if it is another than before."""
        epoch = self._epoch(store)
        if epoch != self._epochs[-1]:
            self._epochs.append(epoch)

    def judge(self, asked: Iterable[ClientRequest], store: Store) -> Judged:
        """Judge all that was asked since the start, by what this store has now.

        What is granted while this reads the players may be taken for lost: clients have to wait until it is done.
        """
        self.played_on(store)
        histories = [
            PlayerHistory(player, start, store.read(player), tuple(heads.get(player, 0) for heads in self._heads))
            for player, start in self._starts.items()
        ]
        return check(asked, histories, Draws(self._chance, self._epochs))

    def _epoch(self, store: Store) -> str:
        with store.begin() as unit:
            loaded = (unit.load(player, "", ()) for player in self._starts)
            return next((player.draw_epoch for player in loaded if player is not None), "")


def heads(store: PostgresUrl | LegacyUrl) -> dict[str, int]:
    """Return the number of each player's newest receipt; of players without one, nothing. One statement."""
    if isinstance(store, PostgresUrl):
        with ops.connect(store) as conn:
            return {str(player): int(seq) for player, seq in conn.execute(_ON_POSTGRES)}
    with closing(sqlite_values.connect(store.path, readonly=True)) as file:
        if not file.execute(_HAS_RECEIPTS, (numbering.RECEIPTS,)).fetchone():
            return {}
        return {str(player): int(seq) for player, seq in file.execute(_ON_FILE)}
