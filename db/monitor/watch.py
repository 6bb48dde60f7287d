"""The watch: a look, the alarms that follow from it, their messages, the heartbeat; once, or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from db.environments import Environment
from db.errors import Refusal
from db.files.alone import alone
from db.monitor import alarms, delivery, exporter, samples, watching
from db.monitor.alarms import AlarmMessage
from db.monitor.checks import BY_NAME
from db.monitor.watching import FOLDER, Looked

FIRST_WINDOW_SECONDS = 5.0
"""How long the first look counts before it judges: rates need two readings."""

TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """One look with its alarms. new: the messages that it caused. faults: why something could not be delivered."""

    looked: Looked
    firing: Mapping[str, datetime]
    new: tuple[AlarmMessage, ...]
    faults: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Return the verdict of the last look."""
        return self.looked.verdict


def once(env: Environment, expected: Mapping[str, str] | None, *, folder: Path = FOLDER) -> Seen:
    """Look once, change the alarms and deliver their messages.

    Raises Refusal for a limit of an unknown check, or where another watch of this environment runs on this machine.
    """
    require_known(env)
    with _alone(env, folder):
        looked = watching.once(env, window_seconds=FIRST_WINDOW_SECONDS, expected_settings=expected, folder=folder)
        return _finish(env, looked, folder)


def keep_looking(
    env: Environment,
    expected: Callable[[], Mapping[str, str] | None],
    show: Callable[[Seen], None],
    passed: Callable[[float], None],
    *,
    folder: Path = FOLDER,
) -> None:
    """Look again and again, until a signal ends it. passed: called twice a second with the seconds to the next look."""
    require_known(env)
    with _alone(env, folder), exporter.serving(env.watch.listen) as last:
        looked = watching.once(env, window_seconds=FIRST_WINDOW_SECONDS, expected_settings=expected(), folder=folder)
        while True:
            last.looked = looked
            show(_finish(env, looked, folder))
            due = time.monotonic() + env.watch.every_seconds
            while (left := due - time.monotonic()) > 0:
                passed(left)
                time.sleep(min(TICK_SECONDS, left))
            with samples.opened(watching.path_of(env, folder)) as kept:
                looked = watching.look(env, kept, expected_settings=expected())


def require_known(env: Environment) -> None:
    """Raise Refusal naming a limit that is of no check."""
    if unknown := sorted(env.watch.limits.keys() - BY_NAME.keys()):
        raise Refusal(
            "limits of checks that there are",
            ", ".join(repr(name) for name in unknown),
            where=f"{env.files_read.operators}, {env.name}.watch.limits",
            do=f"Name one of docs/watch.md, such as {next(iter(BY_NAME))!r}.",
        )


def _finish(env: Environment, looked: Looked, folder: Path) -> Seen:
    """Keep the look, change the alarms, and deliver what waits and the beat. Returns what is to be shown."""
    with samples.opened(watching.path_of(env, folder)) as kept:
        new = alarms.note(kept, looked, delivery.places(env.watch))
        faults = [*delivery.deliver(env, kept), *filter(None, [delivery.beat(env)])]
        return Seen(looked, alarms.firing(kept), tuple(new), tuple(faults))


def _alone(env: Environment, folder: Path) -> AbstractContextManager[None]:
    """Hold this machine's watch of the environment: two would count each look twice, and alarm after one."""
    return alone(
        folder / f"{env.name}.lock",
        f"watch of {env.name}",
        do="Look at its page or its alarms, or end it with Ctrl-C or SIGTERM first.",
    )
