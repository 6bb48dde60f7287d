"""Moves every row from the legacy file to Postgres and back, and proves it."""

from db.transfer.carriage import Carried, carry_back
from db.transfer.checks import check
from db.transfer.comparison import compare_files
from db.transfer.convert import Conversion, convert
from db.transfer.loading import Loaded, clear, load
from db.transfer.proof import Proof, prove
from db.transfer.rebuild import Returned, back
from db.transfer.survey import ColumnProfile, Profile, TableProfile, profile
from db.transfer.tally import Count

__all__ = [
    "Carried",
    "ColumnProfile",
    "Conversion",
    "Count",
    "Loaded",
    "Profile",
    "Proof",
    "Returned",
    "TableProfile",
    "back",
    "carry_back",
    "check",
    "clear",
    "compare_files",
    "convert",
    "load",
    "profile",
    "prove",
]
