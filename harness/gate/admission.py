"""Whether a certificate admits what stands here to an environment; and what was admitted last, which may not shrink.

The last one is remembered with the target, in `ops.admissions`, when a cutover accepts it: what stands there can't be
left out by a fresh checkout. Where no target is asked (`invoke gate --verify` in CI, which reaches none), a file beside
the certificate stands in for it.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from db import admissions, environments, migrate, ops, pooler
from db.admissions import Admission
from db.environments import Environment
from db.errors import Refusal
from db.servers.settings import decisive
from harness.gate import certificate
from harness.gate.certificate import Certificate, Counts, Standing, Target

SIGNING_KEY = "GATE_SIGNING_KEY"

OF_A_RUN = ("game", "db", "harness", "scenarios", *(f":(glob)*.{ending}" for ending in ("py", "toml", "ini", "cfg")))
"""What decides what a gate runs: an ignored or excluded file there counts as any other that is in no commit."""

TRACKED = "H"
"""How `git ls-files -v` marks a file whose changes it looks at; it need not look at others."""


def standing(root: Path) -> Standing:
    """What is true of this checkout."""
    return Standing(
        commit=_git(root, "rev-parse", "HEAD"),
        clean=_is_clean(root),
        schema_head=migrate.head(),
        scenario_digest=certificate.digest_of(root / "scenarios"),
    )


def verify(environment: str, path: Path, root: Path) -> Certificate:
    """The certificate, if it admits this commit to the environment, whose target is not asked; it becomes the last."""
    environments.check_name(environment)
    record = path.with_name(f"accepted-{environment}.json")
    admitted = certificate.verify(
        path, environment, standing(root), key=environments.secret(SIGNING_KEY), now=certificate.now(),
        least=_recorded(record),
    )  # fmt: skip
    record.write_text(json.dumps(asdict(admitted.counts), indent=2) + "\n")
    return admitted


def admit(env: Environment, path: Path, root: Path, *, remember: bool) -> Certificate:
    """The same for a move to the environment's own server, whose version, settings and last admission count too."""
    with pooler.transaction(env.target) as service:
        target = Target(service.info.server_version // 10_000, decisive(service))
    with ops.connect(env.target_direct) as conn:
        ops.require_marker(conn, env.name)
        last = admissions.last(conn)
        least = None if last is None else Counts(**{name: getattr(last, name) for name in Counts.__dataclass_fields__})
        admitted = certificate.verify(
            path, env.name, standing(root), key=environments.secret(SIGNING_KEY), now=certificate.now(), target=target,
            least=least, budget_seconds=env.policy.freeze_budget_seconds,
        )  # fmt: skip
        if remember:
            admissions.add(conn, Admission(admitted.commit, admitted.made_at, **asdict(admitted.counts)))
    return admitted


def _recorded(record: Path) -> Counts | None:
    """The counts in the file; None where there is none yet."""
    try:
        return Counts(**json.loads(record.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise Refusal(
            "the counts of the certificate accepted last", f"{error!r}", where=str(record),
            do="Put that file back as it was. If nobody has it, remove it: then nothing is compared with the last one.",
        ) from None  # fmt: skip


def _is_clean(root: Path) -> bool:
    """Whether everything is as in the commit, whatever this checkout's settings have git overlook."""
    changed = _git(root, "status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none")
    others = _git(root, "ls-files", "--others", "--", *OF_A_RUN).splitlines()
    marks = _git(root, "ls-files", "-v").splitlines()
    return not (
        changed
        or any("__pycache__" not in Path(name.strip('"')).parts for name in others)
        or any(not mark.startswith(f"{TRACKED} ") for mark in marks)
    )


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refusal("a git checkout, to name the commit", done.stderr.strip() or "git failed", where=str(root),
                      do="Run from a git checkout: a copy without .git has no commit.")  # fmt: skip
    return done.stdout.strip()
