"""A set of digests in memory that the processes of a service share, and that a new process finds filled.

Each digest has one place, and the newer of two takes it: so it needs no lock, and never grows. A digest that two
processes write at once may be a mixture, which is the digest of nothing.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from hashlib import blake2b
from pathlib import Path

DIGEST_BYTES = 16
PLACES = 131_072
"""Some four documents of a player have a digest. Of 20,000 players who play at once two thirds of them keep theirs."""

SIZE = PLACES * DIGEST_BYTES

CODE = Path(__file__).parents[1]


def shared_memory() -> int:
    """Return a descriptor of empty memory for a `DigestSet`, which child processes may be given."""
    if sys.platform == "linux":
        memory = os.memfd_create("digests")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, SIZE)
    return memory


class DigestSet:
    """Digests of bytes, of PLACES at most. Safe to use from any thread.

    memory: a descriptor of `shared_memory`; None: memory of this process alone. Processes whose code differs find
    nothing of each other's: what they would conclude from a digest may differ too.
    """

    def __init__(self, memory: int | None = None) -> None:
        self._digests = bytearray(SIZE) if memory is None else mmap.mmap(memory, SIZE)
        self._key = b"" if memory is None else _version()

    def digest(self, data: bytes) -> bytes:
        """Return the digest under which the set knows the data."""
        return blake2b(data, digest_size=DIGEST_BYTES, key=self._key).digest()

    def __contains__(self, digest: bytes) -> bool:
        at = _place(digest)
        return self._digests[at : at + DIGEST_BYTES] == digest

    def add(self, digest: bytes) -> None:
        """Remember the digest. It takes the place of another one if there is one."""
        at = _place(digest)
        self._digests[at : at + DIGEST_BYTES] = digest


def _place(digest: bytes) -> int:
    return int.from_bytes(digest[:4], "big") % PLACES * DIGEST_BYTES


def _version() -> bytes:
    """Return what tells this code from any other: its files, by what Python goes by when it compiles them anew."""
    seen = [(str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in sorted(CODE.rglob("*.py"))]
    return blake2b(repr((seen or os.getpid(), sys.version)).encode(), digest_size=DIGEST_BYTES).digest()
