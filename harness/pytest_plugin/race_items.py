"""pytest's side of races: `file::races` of a scenario that has one, `pairs.toml::a+b` of the table of pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote

import pytest

from db.counts import count
from harness.play.defects import Raised
from harness.pytest_plugin.items import PlayFailed, PlayItem, ScenarioItem, counts_of, pair, raised_block, shown
from harness.pytest_plugin.session import KEEP, leave_after_failure
from harness.scenarios import ScenarioFile
from harness.sweeps import pairs, races, threes
from harness.sweeps.pairs import BadPairs
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.sweeps.race_run import NAMES
from harness.sweeps.races import FailedOrder, PreparedRace, Raced, Track
from harness.sweeps.threes import PreparedThree

RACES, RACE_ORDER = "--races", "--race-order"
GATE, ALL = "gate", "all"
ITEM = "races"
PROPERTY = "race"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the race sweep."""
    group = parser.getgroup("harness")
    group.addoption(
        RACES,
        default=None,
        choices=(GATE, ALL),
        help="run each race in every order; the table of pairs in part or whole",
    )
    group.addoption(
        RACE_ORDER, default=None, metavar="ABBA", help="only the order in which these sessions go on; with " + RACES
    )


def pytest_configure(config: pytest.Config) -> None:
    """Raise UsageError for an order of other letters than the two sessions' names, and for one without races."""
    order = config.getoption(RACE_ORDER)
    if order is None:
        return
    if not order or set(order) - set(NAMES):
        raise pytest.UsageError(f"{RACE_ORDER}: expected letters of {', '.join(NAMES)}; found {order or 'none'}.")
    if config.getoption(RACES) is None:
        raise pytest.UsageError(
            f"{RACE_ORDER}: expected {RACES}={GATE} or {RACES}={ALL} with it; found no {RACES}."
            f" {RACE_ORDER} alone would change nothing."
        )


class RaceItem(ScenarioItem):
    """The race of a scenario, in every order."""

    def play(self, track: Track) -> None:
        """Sweep the orders. Raises PlayFailed with the first that fails."""
        where = f"{self.file.name}:{self.file.document.mark(races.place(self.file.scenario)).line}"
        _sweep(races.of(self.file.scenario), track, self, where)


def items(parent: pytest.Collector, file: ScenarioFile) -> Iterator[RaceItem]:
    """Yield the item of a scenario that has a race, if races are asked for."""
    if parent.config.getoption(RACES) is not None and file.scenario.race is not None:
        yield RaceItem.from_parent(parent, name=ITEM, file=file)


def collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return the collector of the table of pairs, if races are asked for."""
    if file_path.name != pairs.FILE or parent.config.getoption(RACES) is None:
        return None
    return PairsCollector.from_parent(parent, path=file_path)


class PairsCollector(pytest.File):
    """The table; what is wrong with it is said at collection."""

    def collect(self) -> Iterable[pytest.Item]:
        """Make one item of each pair in the table."""
        try:
            table = pairs.read(self.path, f"scenarios/{self.path.name}")
        except BadPairs as error:
            raise self.CollectError(str(error)) from None
        for names in table.pairs(every=self.config.getoption(RACES) == ALL):
            yield PairItem.from_parent(self, name="+".join(names), race=table.race(names))
        for three in table.threes:
            yield ThreeItem.from_parent(self, name="+".join(three), race=table.three(three))


class PairItem(PlayItem):
    """The race of a pair of the table, each of whose commands is granted if nobody comes before it."""

    def __init__(self, *, name: str, parent: pytest.Collector, race: PreparedRace) -> None:
        super().__init__(name=name, parent=parent)
        self.race = race

    def play(self, track: Track) -> None:
        """Sweep the orders. Raises PlayFailed with the first that fails, or with a command that is never granted."""
        raced = _sweep(self.race, track, self, self.path.name)
        for order, end in raced.serial.items():
            label, answer = next(each for each in end.answers if each[0].startswith(f"{pairs.PLAYER}'s {order[0]} "))
            if not answer.startswith("granted"):
                where = f"{self.path.name}: {label}, if nobody comes before it"
                raise PlayFailed(f"{where}\n{pair('granted', answer)}")


class ThreeItem(PlayItem):
    """A race of three of the table, in orders that are drawn."""

    def __init__(self, *, name: str, parent: pytest.Collector, race: PreparedThree) -> None:
        super().__init__(name=name, parent=parent)
        self.race = race

    def play(self, proxied: ProxiedDatabase) -> None:
        """Sweep the orders. Raises PlayFailed with the first that fails."""
        order, keep = self.config.getoption(RACE_ORDER), self.config.getoption(KEEP)
        orders = threes.ORDERS_OF_ALL if self.config.getoption(RACES) == ALL else threes.ORDERS_OF_A_GATE
        raced = threes.sweep(self.race, proxied, orders, order, to_first=keep)
        _judge(raced, self, self.path.name, self.name.split("+"))


def _sweep(race: PreparedRace, track: Track, item: pytest.Item, where: str) -> Raced:
    order, keep = item.config.getoption(RACE_ORDER), item.config.getoption(KEEP)
    try:
        raced = races.sweep(race, track, order, to_first=keep)
    except Raised as raised:  # In a serial order; what a racer raises is an answer that neither of them gives.
        raise PlayFailed(raised_block(where, raised, f"{quote(item.nodeid)} {RACES}={ALL}")) from None
    actions = [prepared.turn.action for prepared in race.racers]
    sessions = [f"{each.do} {json.dumps(dict(each.fields), ensure_ascii=False)}" for each in actions]
    return _judge(raced, item, where, sessions)


def _judge(raced: Raced, item: pytest.Item, where: str, sessions: Sequence[str]) -> Raced:
    """Report the counts. Raises PlayFailed with the first order that failed. sessions: what each of them does."""
    counted = {"orders": raced.orders, "failures": len(raced.failures), "seconds": round(raced.seconds, 3)}
    item.user_properties.append((PROPERTY, json.dumps(counted)))
    if raced.failures:
        raise PlayFailed("\n".join(_first_failure(raced, sessions, item.nodeid, where)))
    if not raced.whole:
        raise PlayFailed(f"{where}\n{pair(f'at most {races.MOST_ORDERS} orders', 'that there are more')}")
    return raced


def _first_failure(raced: Raced, sessions: Sequence[str], nodeid: str, where: str) -> Iterator[str]:
    """Yield the lines of the first order that fails; of two sessions, it is the one with the fewest preemptions."""
    lost = raced.failures[0]
    nearest = [sessions[NAMES.index(name)].partition(" ")[0] for name in lost.serial]
    yield f"{where}: {len(raced.failures)} of {count(raced.orders, 'order')} ended as no serial order does"
    yield from _timeline(lost, sessions)
    yield f"  nearest: {', then '.join(nearest)}"
    yield from shown(lost.differences)
    yield f"  again: pytest {quote(nodeid)} {RACES}={ALL} {RACE_ORDER}={lost.order}"
    yield from (f"\n{defect.trace}" for defect in dict.fromkeys(lost.defects))


def _timeline(lost: FailedOrder, sessions: Sequence[str]) -> Iterator[str]:
    """Yield one line a statement, that of a later session further in."""
    yield from (f"  {name}: {session}" for name, session in zip(NAMES, sessions, strict=False))
    for event in lost.timeline:
        yield f"    {'      ' * NAMES.index(event.session)}{event.session}  {event.statement}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how many races were run, in how many orders."""
    counted = counts_of(terminalreporter, PROPERTY)
    if not counted:
        return
    orders, failures = (sum(one[name] for one in counted) for name in ("orders", "failures"))
    ms = 1000 * sum(one["seconds"] for one in counted) / orders
    terminalreporter.write_sep("-", "races")
    terminalreporter.write_line(
        f"{count(len(counted), 'race')} in {count(orders, 'order')}, {failures} failed; {ms:.0f} ms an order"
    )


@pytest.fixture(scope="session")
def worker_track(worker_proxied_database: ProxiedDatabase) -> Iterator[Track]:
    """Provide the two sessions of this worker, for all of its races."""
    with Track(worker_proxied_database) as track:
        yield track


@pytest.fixture
def track(worker_track: Track, request: pytest.FixtureRequest) -> Iterator[Track]:
    """Provide two sessions of one application; with --keep, the database on which a race failed is left as it is."""
    yield worker_track
    leave_after_failure(request, worker_track)
