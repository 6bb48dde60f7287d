"""Moves every row from the legacy file to Postgres and back, and proves it."""

from db.transfer.assessment import Assessed, assess
from db.transfer.carriage import Carried, carry_back
from db.transfer.checks import check, check_sound
from db.transfer.comparison import compare_files
from db.transfer.convert import Conversion, convert
from db.transfer.loading import Loaded, clear, load
from db.transfer.proof import Proof, prove
from db.transfer.rebuild import Returned, back
from db.transfer.replaying import Decided, Replay, Replayed, replay, require_replayable
from db.transfer.survey import ColumnProfile, Profile, TableProfile, profile
from db.transfer.tally import Count

__all__ = [
    "Assessed",
    "Carried",
    "ColumnProfile",
    "Conversion",
    "Count",
    "Decided",
    "Loaded",
    "Profile",
    "Proof",
    "Replay",
    "Replayed",
    "Returned",
    "TableProfile",
    "assess",
    "back",
    "carry_back",
    "check",
    "check_sound",
    "clear",
    "compare_files",
    "convert",
    "load",
    "profile",
    "prove",
    "replay",
    "require_replayable",
]
