"""`invoke watch`: shows looks, as a page that renews itself on a terminal, as lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from db import environments
from db.console import layout
from db.console.output import Output
from db.environments import Environment
from db.errors import Refusal
from db.monitor import alarms, watch
from db.monitor.check import CheckOutcome, Judgement
from db.monitor.checks import GROUPS
from db.monitor.watch import Seen
from game.printable import escaped
from harness.gate import certificate


def once(environment: str) -> Seen:
    """Look once at the environment of that name. Raises Refusal as `environments.load` and `watch.once` do."""
    env = environments.load(environment)
    return watch.once(env, expected_settings(env))


def expected_settings(env: Environment) -> Mapping[str, str] | None:
    """Return the server's settings of the environment's certificate; None where there is none that can be read."""
    path = Path("out") / f"certificate-{env.name}.json"
    try:
        return certificate.read(path)[0].server_settings if path.exists() else None
    except Refusal:
        return None


def show(seen: Seen, out: Output) -> None:
    """Print a look: every check, then the breaches with their evidence and what to do."""
    looked = seen.looked
    out.table(
        f"{looked.environment}, {looked.at:%Y-%m-%d %H:%M:%S} UTC",
        ("check", "value", "limit", "result"),
        [(each.check, _value(each), _limit(each), str(each.outcome)) for each in looked.judgements],
    )
    if looked.error:
        out.say(f"not judged: {looked.error}", alarm=True)
    else:
        for each in looked.of(CheckOutcome.NOT_JUDGED):
            out.say(f"{each.check}: not judged: {each.why}")
    for each in looked.breaches:
        out.say(f"{each.check}: {alarms.text_of(each)}", alarm=True)
        out.say(f"  {each.do}")
    for line in _alarm_lines(seen):
        out.say(line)
    out.say(f"{_counts(seen)}.")


def keep_showing(env: Environment, out: Output, console: Console) -> None:
    """Show one look after another until a signal ends it."""
    with _page(console, out) as page:
        watch.keep_looking(env, lambda: expected_settings(env), page.show, page.passed)


class _Page:
    """The page on a terminal: counts by group, breaches, alarms, and the seconds to the next look."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live
        self._lines: list[Text] = [Text("looking")]

    def show(self, seen: Seen) -> None:
        self._lines = list(self._rendered(seen))
        self.passed(0.0)

    def passed(self, left: float) -> None:
        foot = Text(f"next look in {left:.0f} s; Ctrl-C ends the watch", style="dim")
        self._live.update(Group(*self._lines, foot), refresh=True)

    def _rendered(self, seen: Seen) -> Iterator[Text]:
        looked = seen.looked
        yield self._line(f"{looked.environment}, {looked.at:%H:%M:%S} UTC: {_counts(seen)}", "bold")
        if looked.error:
            yield self._line(looked.error, "bold red")
        by_name = {each.check: each for each in looked.judgements}
        for name, checks in GROUPS.items():
            judged = [by_name[check.name] for check in checks]
            counts = ", ".join(
                f"{many} {outcome}" for outcome in CheckOutcome if (many := sum(j.outcome is outcome for j in judged))
            )
            yield self._line(
                f"  {name:22}{counts}", "red" if any(j.outcome is CheckOutcome.BREACH for j in judged) else ""
            )
        for each in looked.breaches:
            yield self._line(f"{each.check}: {alarms.text_of(each)}", "bold red")
            yield self._line(f"  {each.do}", "")
        for line in _alarm_lines(seen):
            yield self._line(line, "")

    def _line(self, text: str, style: str) -> Text:
        return Text(layout.fitted(escaped(text), self._console), style=style)


class _Lines:
    """One line a look where no terminal is, and one for each breach."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def show(self, seen: Seen) -> None:
        self._out.say(f"{seen.looked.at:%Y-%m-%d %H:%M:%S} UTC {seen.looked.environment}: {_counts(seen)}")
        for each in seen.looked.breaches:
            self._out.say(f"  {each.check}: {alarms.text_of(each)}. {each.do}")
        for line in _alarm_lines(seen):
            self._out.say(f"  {line}")

    def passed(self, _left: float) -> None:
        pass


@contextmanager
def _page(console: Console, out: Output) -> Iterator[_Page | _Lines]:
    if not (console.is_interactive and console.file.isatty()):
        yield _Lines(out)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield _Page(console, live)


def _alarm_lines(seen: Seen) -> Iterator[str]:
    for check, since in seen.firing.items():
        yield f"alarm since {since:%Y-%m-%d %H:%M:%S} UTC: {check}"
    for message in seen.new:
        if message.kind is alarms.MessageKind.ENDED:
            yield message.line
    yield from seen.faults


def _counts(seen: Seen) -> str:
    looked = seen.looked
    parts = [f"{many} {outcome}" for outcome in CheckOutcome if (many := len(looked.of(outcome)))]
    return f"{', '.join(parts)}; {len(seen.firing)} alarm{'' if len(seen.firing) == 1 else 's'}"


def _value(each: Judgement) -> str:
    return "" if each.value is None else f"{each.value:,.4g} {each.unit}"


def _limit(each: Judgement) -> str:
    return f"{'least' if each.least else 'most'} {each.limit:g}"
