"""Moves every row from the legacy file to Postgres and back, and proves it."""

from db.transfer.assessment import Assessed, assess
from db.transfer.loading import LoadResult, clear, load
from db.transfer.missing_players import MissingPlayers
from db.transfer.missing_players import find as find_missing
from db.transfer.profiling import ColumnProfile, Profile, TableProfile, profile
from db.transfer.rebuild import Returned, back
from db.transfer.reconcile import UnitCount
from db.transfer.soundness import check, check_sound
from db.transfer.verify import Proof, prove
from db.transfer.write_back import WriteBackCounts, write_back

__all__ = [
    "Assessed",
    "ColumnProfile",
    "LoadResult",
    "MissingPlayers",
    "Profile",
    "Proof",
    "Returned",
    "TableProfile",
    "UnitCount",
    "WriteBackCounts",
    "assess",
    "back",
    "check",
    "check_sound",
    "clear",
    "find_missing",
    "load",
    "profile",
    "prove",
    "write_back",
]
