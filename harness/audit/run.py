"""An audit from start to end: two copies of the tree, one mutation at a time in each, its expected catcher first.

Some 4 s a mutation and copy. Before any of them the catchers must pass on the tree as it stands: a test that fails
anyway catches nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from db import servers
from db.console.progress import Advance, Progress
from db.counts import count, few
from db.errors import Failure, Inconclusive, Refusal
from db.servers.reaper_client import ReaperClient
from harness.audit.copies import FAILED, PASSED, Copy
from harness.audit.mutations import MUTATIONS, Mutation
from harness.audit.report import AuditReport, Result, judged

COPIES = 2
"""One a core."""

CATCHERS_AT_ONCE = 8
CATCHER_SECONDS = 150
"""So many catchers go into one pytest, with so much time for each: the slowest, a strike, takes a third of it."""

SHOWN = 6

T = TypeVar("T")


def run(
    root: Path, kind: str | None, select: str, progress: Progress, *, mutations: Sequence[Mutation] = MUTATIONS
) -> AuditReport:
    """Try each mutation whose name has `select` in it.

    Refusal: there is none. Failure: one does not match exactly once, or another tree than the copy runs. Inconclusive:
    a catcher fails without any mutation.
    """
    began = time.monotonic()
    chosen = [mutation for mutation in mutations if select in mutation.name]
    if not chosen:
        raise Refusal(f"a mutation with {select!r} in its name", "none", do="Leave --select out, and all are run.")
    _check_matches(root, chosen)
    with (
        started_copies(root, kind, progress) as copies,
        ThreadPoolExecutor(len(copies)) as pool,
        stopped_at_an_error(copies),
    ):
        progress.say("the copies must be what runs: in tests, in their children, in the service")
        list(pool.map(Copy.prove, copies))
        _check_catchers(copies, chosen, pool, progress)
        waiting: SimpleQueue[Mutation] = SimpleQueue()
        for mutation in chosen:
            waiting.put(mutation)
        with progress.bar("mutations", len(chosen), "mutations") as advance:
            by_copy = pool.map(lambda copy: list(_work(copy, waiting, advance)), copies)
            results = [result for of_copy in by_copy for result in of_copy]
    return judged(results, time.monotonic() - began)


def _check_matches(root: Path, mutations: Sequence[Mutation]) -> None:
    """Raise Failure naming every mutation that does not match once, so that all are mended at once."""
    wrong = [trouble for mutation in mutations if (trouble := mutation.trouble(root))]
    if wrong:
        raise Failure(
            "each mutation to match exactly once",
            "; ".join(wrong),
            where="harness/audit/mutations.toml",
            do="The code has moved on: write what it says now.",
        )


@contextmanager
def started_copies(root: Path, kind: str | None, progress: Progress) -> Iterator[list[Copy]]:
    """Make the copies and their servers; both are removed afterwards, however we end."""
    with ExitStack() as stack:
        reaper = ReaperClient()
        stack.callback(reaper.close)
        plan = servers.plan(kind)
        progress.say(f"{COPIES} copies of the tree, each with a throwaway Postgres: {plan}")
        copies = []
        for _ in range(COPIES):
            folder = Path(tempfile.mkdtemp(prefix="sudamr-audit-"))
            reaper.folder(folder)
            copies.append(Copy(folder, stack.enter_context(plan.start())))
            stack.callback(copies[-1].close)
            copies[-1].fill(root)
        yield copies


@contextmanager
def stopped_at_an_error(copies: list[Copy]) -> Iterator[None]:
    """End what runs in the copies if the block raises: the pool waits for its threads, and a thread for its pytest."""
    try:
        yield
    except BaseException:  # Ctrl-C too.
        for copy in copies:
            copy.stopping.set()
        raise


def _check_catchers(
    copies: list[Copy], mutations: list[Mutation], pool: ThreadPoolExecutor, progress: Progress
) -> None:
    """Raise Inconclusive unless each catcher passes on the tree as it stands."""
    catchers = list(dict.fromkeys(mutation.catcher for mutation in mutations))
    progress.say(f"each of {count(len(catchers), 'catcher')} must pass before anything is broken; some 3 s each")
    waiting: SimpleQueue[list[str]] = SimpleQueue()
    for n in range(0, len(catchers), CATCHERS_AT_ONCE):
        waiting.put(catchers[n : n + CATCHERS_AT_ONCE])
    with progress.bar("catchers", len(catchers), "catchers") as advance:
        list(pool.map(lambda copy: _check(copy, waiting, advance), copies))


def _check(copy: Copy, waiting: SimpleQueue[list[str]], advance: Advance) -> None:
    """Run catchers in the copy until none waits. Raises Inconclusive at the first that fails, or does not end."""
    while (catchers := _next(waiting)) is not None:
        ran = copy.pytest(catchers, seconds=CATCHER_SECONDS * len(catchers))
        if ran.code != PASSED:
            while _next(waiting) is not None:  # The other copy begins no more.
                pass
            raise Inconclusive(
                "each catcher to pass before anything is broken",
                f"failed: {few(ran.failed, SHOWN) or f'{ran.last_lines}: {few(catchers, SHOWN)}'}",
                where="the tree",
                do="Mend these tests first: nothing was broken yet.",
            )
        advance(len(catchers))


def _next(waiting: SimpleQueue[T]) -> T | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _work(copy: Copy, waiting: SimpleQueue[Mutation], advance: Advance) -> Iterator[Result]:
    while (mutation := _next(waiting)) is not None:
        yield _try(copy, mutation)
        advance(1)


def _try(copy: Copy, mutation: Mutation) -> Result:
    began = time.monotonic()
    with copy.mutated(mutation):
        caught, broken = _catch(copy, mutation)
    if caught and caught != mutation.catcher and copy.pytest([caught]).code != PASSED:
        caught, broken = "", f"{caught} fails without it too, and nothing else was asked"
    seconds = round(time.monotonic() - began, 1)
    return Result(mutation.name, mutation.file, mutation.catcher, caught, seconds, broken)


def _catch(copy: Copy, mutation: Mutation) -> tuple[str, str]:
    """Return who caught it, and what kept it from being judged: the expected catcher first, then the wider suites."""
    for n, tests in enumerate(([mutation.catcher], *([suite] for suite in mutation.wider))):
        ran = copy.pytest(tests, "-x")
        if ran.code == FAILED and ran.failed:
            return mutation.catcher if n == 0 else ran.failed[0], ""
        if ran.code != PASSED:
            return "", f"pytest could not run, exit code {ran.code}: {ran.last_lines}"
    return "", ""
