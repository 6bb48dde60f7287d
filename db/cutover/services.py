"""The service's processes, asked over HTTP which store they serve; and one started by us, to see that it can."""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import httpx
import psutil
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from db import environments, web
from db.errors import Failure, Refusal
from db.processes import children
from game import libpq
from game.redaction import redact
from game.urls import LegacyUrl, PostgresUrl

OK = 200
ASK_SECONDS = 2.0
POLL_SECONDS = 0.1
TRIAL_SECONDS = 30.0
START_SECONDS = 60.0

NICENESS = 5
"""Of a process that is started beside the service: nobody who plays waits for it, but it must answer in time."""

SETTLE_SECONDS = 2.0
AT_ONCE_SECONDS = 0.1

NOBODY = "Connection refused"
"""In the text of an answer from an address where no process listens."""

_ERRNO = re.compile(r"\[Errno -?\d+\] ")


@dataclass(frozen=True, slots=True)
class NextReady:
    """The second store of a process, as /readyz shows it. ready: it would be served at once if the game moved."""

    engine: str
    store: str
    identity: str
    fence: str
    ready: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The answer of a process at /readyz; `status` is HTTP's. next: None where it has one store, or is too old."""

    url: str
    status: int
    engine: str
    store: str
    fence: str
    pid: int
    started: str
    abilities: tuple[str, ...] = ()
    next: NextReady | None = None

    @property
    def process(self) -> tuple[int, str]:
        """Identify the process by its id and its start."""
        # The id alone is not enough: in containers every process may have the id 1.
        return self.pid, self.started


def let_settle(urls: Sequence[str]) -> None:
    """Return once every process answers at once again, or SETTLE_SECONDS have passed.

    After a restart or a window those who waited come first.
    """
    settling = Retrying(
        retry=retry_if_result(lambda at_once: not at_once),
        stop=stop_after_delay(SETTLE_SECONDS),
        wait=wait_fixed(POLL_SECONDS),
        retry_error_callback=lambda _state: False,
    )
    settling(lambda: all(map(_answers_at_once, urls)))


def _answers_at_once(url: str) -> bool:
    began = time.monotonic()
    ask(url)
    return time.monotonic() - began < AT_ONCE_SECONDS


def ask(url: str) -> Ready | None:
    """Return the answer of the process at this base URL; None if nothing that is our service answers."""
    answer = asked(url)
    return answer if isinstance(answer, Ready) else None


def asked(url: str) -> Ready | str:
    """Return the same, or in a few words why nothing that is our service answers."""
    try:
        # trust_env=False: a proxy that the environment names must not answer for the service.
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=ASK_SECONDS, trust_env=False, verify=web.authorities())
        body = answer.json()
    except httpx.TimeoutException:
        return f"no answer within {ASK_SECONDS:g} s"
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return "no URL that begins with http:// or https://"
    except httpx.HTTPError as error:
        return f"no answer ({_ERRNO.sub('', str(error)) or type(error).__name__})"
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(pid := body.get("pid"), int):
        return f"another program answers, with HTTP status {answer.status_code}"
    text = {name: str(body.get(name) or "") for name in ("engine", "store", "fence", "started")}
    able = body.get("abilities")
    abilities = tuple(map(str, able)) if isinstance(able, list) else ()
    return Ready(url, answer.status_code, pid=pid, abilities=abilities, next=_next(body.get("next")), **text)


def _next(answer: object) -> NextReady | None:
    if not isinstance(answer, dict):
        return None
    text = {name: str(answer.get(name) or "") for name in ("engine", "store", "identity", "fence")}
    return NextReady(**text, ready=answer.get("ready") is True)


def unable(urls: Sequence[str], ability: str) -> list[str]:
    """Name the processes that can't do it, of an earlier version, and those that do not say. None runs: none is named.

    ability: as `/readyz` lists them (`abilities`).
    """
    named = []
    for url in urls:
        answer = asked(url)
        if isinstance(answer, str):
            if NOBODY not in answer:
                named.append(f"{url}: {answer}")
        elif ability not in answer.abilities:
            named.append(f"{url}: a process of an earlier version")
    return named


def wait_for(
    urls: Sequence[str],
    fits: Callable[[Ready], bool],
    *,
    what: str,
    timeout_seconds: float,
    fault: Callable[[Ready], str] = lambda _: "",
) -> list[Ready]:
    """Ask again and again until every process fits. Raises Failure naming those that do not within `timeout_seconds`.

    fault: says in a clause why one does not fit; "" where its answer shows it.
    """
    waiting = Retrying(
        retry=retry_if_result(lambda answers: not _all(answers, fits)),
        stop=stop_after_delay(timeout_seconds),
        wait=wait_fixed(POLL_SECONDS),
    )
    try:
        answers: list[Ready | None] = waiting(lambda: [ask(url) for url in urls])
    except RetryError as error:
        last: list[Ready | None] = error.last_attempt.result()
        pairs = zip(urls, last, strict=True)
        wrong = [
            f"{url} {(fault(ready) if ready else '') or _shown(ready)}"
            for url, ready in pairs
            if ready is None or not fits(ready)
        ]
        raise Failure(
            f"{what} within {timeout_seconds:.0f} s",
            "; ".join(wrong),
            do="Mend what the service's own log says; the hooks' output is in the journal.",
        ) from None
    return [ready for ready in answers if ready is not None]


def serves(ready: Ready, url: PostgresUrl | LegacyUrl, identity: str) -> bool:
    """Return True if the process is ready and serves this store."""
    return ready.status == OK and ready.engine == engine(url) and ready.store == identity


def engine(url: PostgresUrl | LegacyUrl) -> str:
    """Return the store's engine as /readyz names it."""
    return "legacy" if isinstance(url, LegacyUrl) else "postgres"


def process_of(ready: Ready) -> psutil.Process | None:
    """Return the process of that answer, if it is alive on this machine: same id, and same start. None else.

    `is_running` of what is returned stays right however the clock is set later. On another machine, or inside a
    container, the process can't be seen from here, and what answers at its URL has to do.
    """
    try:
        process = psutil.Process(ready.pid)
        since = datetime.fromisoformat(ready.started).timestamp() - process.create_time()
    except (psutil.NoSuchProcess, ValueError):
        return None
    return process if 0 <= since < START_SECONDS else None


def trial(url: PostgresUrl | LegacyUrl) -> Ready:
    """Start one process on the URL, on a port of its own; wait for its answer, and stop it. Raises Refusal without one.

    It shows that this machine's service can open the store with the rights that the URL gives it. A target that is not
    migrated yet, and a store that moved, answer 503, and that is an answer.
    """
    with started_beside(url) as ready:
        return ready


@contextmanager
def started_beside(url: PostgresUrl | LegacyUrl, *, operator_token: str = "") -> Iterator[Ready]:
    """Start one process on the URL, on ports of its own, and yield its answer; it is stopped at the end.

    Raises Refusal if it does not answer.
    """
    with tempfile.TemporaryFile() as output, _started(url, operator_token, output.fileno()) as (process, base):
        waiting = Retrying(
            retry=retry_if_result(lambda ready: ready is None and process.poll() is None),
            stop=stop_after_delay(TRIAL_SECONDS),
            wait=wait_fixed(POLL_SECONDS),
            retry_error_callback=lambda _: None,
        )
        ready: Ready | None = waiting(ask, base)
        if ready is None:
            output.seek(0)
            last_line = redact(output.read().decode(errors="replace")).strip().splitlines()[-1:] or ["nothing"]
            raise Refusal(
                "a service process started on this URL to answer /readyz",
                f"it said: {last_line[0][:300]}",
                where=url.redacted,
                do="Mend what it says: a service of this machine could not start on that store.",
            )
        yield ready


@contextmanager
def _started(
    url: PostgresUrl | LegacyUrl, operator_token: str, output: int
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    public, private = _free_ports()
    given = {
        "DATABASE_URL": url.as_text(),
        "HOST": "127.0.0.1",
        "PORT": str(public),
        "PRIVATE_HOST": "127.0.0.1",
        "PRIVATE_PORT": str(private),
        "PROCESSES": "1",
        "PIDFILE": "",
        "SUDAMR_ENV_FILE": "",
        "CHANCE_SECRET": secrets.token_hex(16),
        "TOKEN_SECRET": secrets.token_hex(16),
        "OPERATOR_TOKEN": operator_token,
        "SENTRY_DSN": "",
    }
    needed = libpq.KEPT if isinstance(url, PostgresUrl) and not url.password else ()
    with children.started(
        [sys.executable, "-m", "game.service"],
        nicer=NICENESS,
        env=environments.child_variables(given, secrets=needed),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    ) as process:
        yield process, f"http://127.0.0.1:{private}"


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as another:
        one.bind(("127.0.0.1", 0))
        another.bind(("127.0.0.1", 0))
        return one.getsockname()[1], another.getsockname()[1]


def _all(answers: list[Ready | None], fits: Callable[[Ready], bool]) -> bool:
    return all(ready is not None and fits(ready) for ready in answers)


def _shown(ready: Ready | None) -> str:
    if ready is None:
        return "does not answer"
    return (
        f"answers {ready.status} from {ready.engine or 'no store'}, {ready.fence or 'no fence known'}, as {ready.pid}"
    )
