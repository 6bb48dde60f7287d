"""Reads the state of a checkout, beside its commit, with which a certificate is compared."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from db import environment_files, environments
from db.errors import Refusal

OF_A_RUN = ("game", "db", "harness", "scenarios", *(f":(glob)*.{ending}" for ending in ("py", "toml", "ini", "cfg")))
"""They decide about a gate's items: an ignored or excluded file there counts as any other that is in no commit."""

NOT_CERTIFIED = frozenset({environments.DEFAULT_PATH.name, environment_files.LOCAL})
"""Files that no gate reads: they say where databases are and what a move may do, so a certificate outlives an edit.

Exact names in the checkout's root: a folder of that name, or a file of that name elsewhere, counts as any other.
"""

TRACKED = "H"
"""How `git ls-files -v` marks a file whose changes it looks at; it need not look at others."""

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def head(root: Path) -> str:
    """Return the commit that is checked out. Raises Refusal without one."""
    return _git(root, "rev-parse", "HEAD").strip()


def is_same_code(root: Path, certified: str, current: str) -> bool:
    """Return True if the two commits are one, or differ in files alone that no gate reads."""
    if certified == current or not _COMMIT.fullmatch(certified):
        return certified == current
    try:
        differing = _names(_git(root, "diff-tree", "-r", "-z", "--name-only", "--no-renames", certified, current))
    except Refusal:  # The commit is not in this checkout, so nobody knows what it holds.
        return False
    return NOT_CERTIFIED.issuperset(differing)


def edited_settings(root: Path) -> bool:
    """Return True if environments.toml is not as in the commit. No certificate judges that, so people must be told."""
    try:
        return environments.DEFAULT_PATH.name in _edited(root)
    except Refusal:  # Not a checkout of git: there is no commit to compare with.
        return False


def changes(root: Path) -> Iterator[str]:
    """Yield the files that are not as in the commit, whatever this checkout's settings have git overlook.

    Files of the commit are compared byte for byte: a filter or a kept time of change can hide an edit from git.
    """
    status = _git(
        root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none"
    )
    others = _names(_git(root, "ls-files", "-z", "--others", "--", *OF_A_RUN))
    marked = [entry for entry in _names(_git(root, "ls-files", "-v", "-z")) if not entry.startswith(f"{TRACKED} ")]
    changed = {
        *(entry[3:] for entry in _names(status)),
        *(entry[2:] for entry in marked),
        *(name for name in others if "__pycache__" not in Path(name).parts),
        *_edited(root),
    }
    yield from sorted(changed - NOT_CERTIFIED)


def _edited(root: Path) -> Iterator[str]:
    """Yield the files of the commit whose bytes or kind here are others, or that are gone."""
    committed = list(_entries(_names(_git(root, "ls-tree", "-r", "-z", "HEAD"))))
    # git reads a name a line here, so one with a line break or a quotation mark can't be compared: it counts as edited.
    files = [
        (name, blob)
        for name, is_link, blob in committed
        if not is_link and _is_file(root / name) and "\n" not in name and not name.startswith('"')
    ]
    given = "".join(f"{name}\n" for name, _ in files)
    hashed = _git(root, "hash-object", "--no-filters", "--stdin-paths", given=given).split()
    same = {name for (name, blob), digest in zip(files, hashed, strict=True) if blob == digest}
    for name, is_link, blob in committed:
        if name not in same and not (is_link and _is_link_to(root, name, blob)):
            yield name


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_link_to(root: Path, name: str, blob: str) -> bool:
    path = root / name
    return path.is_symlink() and _git(root, "hash-object", "--stdin", given=str(path.readlink())).strip() == blob


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it is a symbolic link, and object of each line of `git ls-tree`."""
    for line in lines:  # Mode, type and object; a tab; the name.
        facts, _, name = line.partition("\t")
        mode, _, blob = facts.split()
        yield name, mode == "120000", blob


def _names(text: str) -> list[str]:
    return [name for name in text.split("\0") if name]


def _git(root: Path, *arguments: str, given: str = "") -> str:
    """Run git on this checkout, without the variables that lead it to another one, and on objects as they were made."""
    environment = {
        name: value for name, value in environments.child_variables({}).items() if not name.startswith("GIT_")
    }
    done = subprocess.run(
        ["git", "--no-replace-objects", "-c", "core.fsmonitor=false", *arguments],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env=environment,
        input=given,
    )
    if done.returncode:
        raise Refusal(
            "a git checkout, to name the commit",
            done.stderr.strip() or "git failed",
            where=str(root),
            do="Run from a git checkout: a copy without .git has no commit.",
        )
    return done.stdout
