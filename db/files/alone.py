"""Lets one process of this machine at a time do a thing: by a lock that ends with its process, kill -9 or not."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.errors import Refusal
from db.files import private


@contextmanager
def alone(path: Path, what: str, *, do: str) -> Iterator[None]:
    """Hold the file's lock. Raises Refusal naming the process that has it; what: a noun, such as "watch of staging"."""
    private.make_folder(path.parent)
    with private.opened(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refusal(
                f"no other {what} on this machine",
                f"process {file.read().strip() or 'unknown'}",
                where=str(path),
                do=do,
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
