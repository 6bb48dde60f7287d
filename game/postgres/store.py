"""The Postgres store. A command costs five round trips: BEGIN, lock, load, save, COMMIT.

Its SQL is made once for each set of tables to load and each shape of changes to save (see `game.postgres.statements`):
to build and compile it anew took longer than the server takes to carry it out.

The lock is a statement of its own: what is read together with it is read as of before the wait for it. A fence that
closes after it lets the command go no further than to save, which it refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from game import idempotency, printable, session, tables
from game.chain import Head
from game.errors import FENCE_PASS_SETTING, FENCE_SQLSTATE, Fenced, Moved, StoreFailure, StoreUnavailable, TryAgain
from game.postgres import statements
from game.postgres.statements import FENCE, FENCE_VIEW, HEAD, SavePart
from game.rows import Key, Record, Rows, TableChanges, Value, compare, text
from game.rules.commands import Command
from game.unit_of_work import UNWATCHED, Engine, FenceView, LoadedPlayer, StoreStatus, Watch
from game.urls import PostgresUrl

AGAIN = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available
        "57014",  # query_canceled, by the statement timeout or by an operator
        "25006",  # read_only_sql_transaction: a replica not yet promoted
    }
)
UNREACHABLE_CLASSES = ("08", "53", "57")  # connection exceptions, too many connections, shutting down or starting up
DIRECT = "direct"
"""Key in the pool's `info` of a connection: True if no pooler stands between. Set by its first transaction."""

NO_GAME_HERE = frozenset({"3F000", "42P01", "3D000", "42703"})  # schema, table, database or column that does not exist
MOVED = "another store serves the game"
MIGRATE = "run invoke migrate for this environment, with this version of the program"

CONNECTION = {
    "application_name": "sudamr",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Parameters of libpq of each connection. A link that died is noticed in some 25 s, one that takes no data in 15 s."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The server's patience with a session of ours, and ours with a connection and with the pool."""

    statement_ms: int = 5_000
    lock_ms: int = 2_000
    idle_in_transaction_ms: int = 10_000
    connect_seconds: int = 3
    pool_seconds: float = 1.0

    @property
    def settings(self) -> dict[str, str]:
        """Return the first three by the server's names for them."""
        return {
            "statement_timeout": str(self.statement_ms),
            "lock_timeout": str(self.lock_ms),
            "idle_in_transaction_session_timeout": str(self.idle_in_transaction_ms),
        }


class PostgresStore:
    """Players in Postgres. Opens nothing before it is used; connections that turn out dead are replaced."""

    engine: ClassVar[Engine] = "postgres"

    def __init__(
        self, url: PostgresUrl, *, pool_size: int = 10, timeouts: Timeouts | None = None, watch: Watch = UNWATCHED
    ) -> None:
        timeouts = timeouts or Timeouts()
        self._watch = watch
        self._pool_size = pool_size
        self._lock_ms = timeouts.lock_ms
        self._schema = url.schema
        self._begin = session.begin(url.schema, timeouts.settings)
        self._engine = sa.create_engine(
            _with_timeouts(url, timeouts),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeouts.pool_seconds,
            hide_parameters=True,
            use_native_hstore=False,
        )
        sa.event.listen(self._engine, "do_connect", _connect)

    @contextmanager
    def begin(self, fence_pass: str | None = None, *, patience_seconds: float | None = None) -> Iterator[PostgresUnit]:
        """Begin a unit of work on a connection of the pool. A patience of its own costs a round trip."""
        with _translated(), ExitStack() as held:
            with self._watch.waiting():
                connection = held.enter_context(self._engine.connect())
            with self._watch.holding():
                try:
                    self._start(connection)
                    if patience_seconds is not None and patience_seconds * 1000 < self._lock_ms:
                        wait = f"{max(1, int(patience_seconds * 1000))}ms"
                        connection.exec_driver_sql("select set_config('lock_timeout', %(wait)s, true)", {"wait": wait})
                    yield PostgresUnit(connection, fence_pass, self._watch)
                except BaseException:  # Whatever ends it, a worker told to stop included, is a rollback.
                    self._watch.rolled_back()
                    raise

    def _start(self, connection: sa.Connection) -> None:
        """Give the transaction its settings. A direct connection's session has them already, so nothing is sent.

        A connection's first transaction finds out whether the connection is direct.
        """
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        direct = connection.info.get(DIRECT)
        if direct is None:
            try:
                connection.info[DIRECT] = session.begin_first(driver, self._begin)
            except psycopg.Error as error:
                connection.invalidate(error)
                raise
        elif not direct:
            connection.exec_driver_sql(self._begin)
        elif driver.autocommit:
            # psycopg then begins each transaction with its first statement, which costs less CPU time than BEGIN here.
            driver.autocommit = False

    @contextmanager
    def _one_statement(self) -> Iterator[sa.Connection]:
        """Hold a connection for one statement that only reads. On a direct connection it is the only round trip."""
        with self.begin() as unit:
            driver = unit.connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            if unit.connection.info[DIRECT] and driver.info.transaction_status is TransactionStatus.IDLE:
                driver.autocommit = True  # `_start` turns it off again.
            yield unit.connection

    def state(self, player: str) -> Rows | None:
        """Read the player's state by one statement; see `Store`."""
        return self._select(player, tables.PLAYER_STATE)

    def state_if_open(self, player: str) -> Rows | None:
        """Read the player's state by one statement, of an open store; see `PairedStore`."""
        return self._select(player, tables.PLAYER_STATE, open_only=True)

    def read(self, player: str) -> Rows | None:
        """Read the player's state and journals by one statement; see `Store`."""
        return self._select(player, (*tables.PLAYER_STATE, *tables.JOURNALS))

    def _select(self, player: str, wanted: Sequence[sa.Table], *, open_only: bool = False) -> Rows | None:
        """Read these tables. open_only: raise Fenced for a fenced store, which may no longer have the newest state."""
        statement = statements.state(tuple(table.name for table in wanted))
        with self._one_statement() as connection:
            fence, *selected = connection.exec_driver_sql(statement.sql, {"player": player}).one()
        if fence == "moved":
            raise Moved(MOVED)
        if open_only and fence != "open":
            raise Fenced(fence)
        rows = Rows(
            {
                name: _records(tables.BY_NAME[name], records)
                for name, records in zip(statement.tables, selected, strict=True)
            }
        )
        return rows if rows["users"] else None

    def status(self) -> StoreStatus:
        """Read the store's status. Its identity is the cluster's own number, the database and the schema: no secret."""
        control = sa.func.pg_control_system().table_valued("system_identifier")
        query = sa.select(
            sa.select(control.c.system_identifier).scalar_subquery().label("cluster"),
            sa.func.current_database().label("database"),
            FENCE.c.state,
            FENCE.c.environment,
            sa.func.to_jsonb(FENCE.table_valued()).op("->>")(sa.literal_column("'identity'")).label("identity"),
            sa.select(HEAD.c.version_num).scalar_subquery().label("head"),
            sa.literal_column(f"({statements.lacking()})").label("lacking"),
        )
        with self._one_statement() as connection:
            row = connection.execute(query).one()
        store = f"postgres:{row.cluster}/{row.database}/{self._schema}"
        lacks = f"the database has no {printable.named(row.lacking)}: {MIGRATE}" if row.lacking else ""
        return StoreStatus(self.engine, store, row.environment, row.head, row.state, lacks, row.identity)

    def fence_view(self) -> FenceView:
        """Read the fence and whom it names by one statement; see `PairedStore`."""
        with self._one_statement() as connection:
            row = connection.exec_driver_sql(FENCE_VIEW).one()
        return FenceView(row.identity, row.state, row.peer, row.run)

    def acquaint(self, player: str) -> None:
        """Do nothing: a player's first command costs no more than the next; see `PairedStore`."""

    def warm(self) -> None:
        """Open the whole pool, and load on each connection a player who does not exist; see `PairedStore`.

        So the SQL of loads is compiled here and the server knows the tables there, before the first players come at
        once. Behind a pooler only one connection is opened: its server connections are shared, and players need them.
        """
        for command in Command.__subclasses__():
            statements.load(command.tables)
        statements.state(tuple(table.name for table in tables.PLAYER_STATE))
        nobody = {"player": "", "request_id": "", "other_form": ""}
        everything = statements.load(tuple(table.name for table in tables.PLAYER_STATE if table is not tables.users))
        with ExitStack() as held:
            units = [held.enter_context(self.begin())]
            if units[0].connection.info[DIRECT]:
                units += [held.enter_context(self.begin()) for _ in range(self._pool_size - 1)]
            for unit in units:
                unit.connection.exec_driver_sql(statements.lock(), nobody)
                unit.connection.exec_driver_sql(everything.sql, nobody)

    def close(self) -> None:
        """Close all connections of the pool; see `Store`."""
        self._engine.dispose()


class PostgresUnit:
    """One transaction; psycopg begins it with the first statement."""

    def __init__(self, connection: sa.Connection, fence_pass: str | None, watch: Watch = UNWATCHED) -> None:
        self.connection = connection
        self._fence_pass = fence_pass
        self._watch = watch

    def load(self, player: str, request_id: str, names: Collection[str]) -> LoadedPlayer | None:
        """See `Unit`. Columns marked CODEC are never read."""
        if self._fence_pass is not None:
            setting = sa.func.set_config(FENCE_PASS_SETTING, self._fence_pass, sa.true())
            self.connection.execute(sa.select(setting))
        with self._watch.asking("lock"):
            fence, epoch, seq, link, *user = self.connection.exec_driver_sql(
                statements.lock(), {"player": player}
            ).one()
        if fence == "moved" and self._fence_pass is None:
            raise Moved(MOVED)
        record: Record = dict(zip(statements.USER_COLUMNS, user, strict=True))
        if record["id"] is None:
            return None
        rows = Rows({"users": {(player,): record}})
        statement = statements.load(tuple(names))
        values = dict(zip(("request_id", "other_form"), idempotency.forms(request_id), strict=True))
        with self._watch.asking("load"):
            selected = self.connection.exec_driver_sql(statement.sql, {"player": player, **values}).one()
        for name, records in zip(statement.tables, selected, strict=True):
            if records is not None:
                rows[name] = _records(tables.BY_NAME[name], records)
        return LoadedPlayer(rows, fence, None if seq is None else Head(seq, link), epoch or "")

    def save(self, before: Rows, after: Rows) -> None:
        """Write all changes as one statement, with a part for each updated record and each table's inserts and deletes.

        The server promises no order of the parts. So if a table with a unique column both loses rows and gets others,
        the deletes are a statement of their own before it. Changes that are too many for one statement (hundreds of
        mails claimed at once) are written as several, in the order of the tables.
        """
        changes = _with_heads(compare(before, after))
        with self._watch.asking("save"):
            for name, change in reversed(changes.items()):
                if change.deletes and statements.loses_first(name, change):
                    self._write(_deletes(name, change))
            self._write([part for name, change in changes.items() for part in _parts(name, change)])

    def _write(self, parts: Iterable[SavePart]) -> None:
        for together in statements.batches(parts):
            self._execute(together)

    def _execute(self, parts: Sequence[SavePart]) -> None:
        values = chain.from_iterable(part.values for part in parts)
        statement = statements.save(tuple(part.shape for part in parts))
        self.connection.exec_driver_sql(statement, {f"v{n}": value for n, value in enumerate(values)})

    def commit(self) -> None:
        """Commit the transaction; see `Unit`."""
        with self._watch.asking("commit"):
            self.connection.commit()


def _with_timeouts(url: PostgresUrl, timeouts: Timeouts) -> sa.URL:
    """Add our session's settings to the URL; what the URL itself names stays. They cost no round trip here."""
    defaults = {**CONNECTION, "connect_timeout": str(timeouts.connect_seconds)}
    named = dict(url.parameters)
    query = {**url.sqlalchemy.query, **{name: value for name, value in defaults.items() if name not in named}}
    return url.sqlalchemy.set(query={**query, "options": session.options(url.schema, timeouts.settings)})


def _connect(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> session.Connection:
    """Connect for the pool by `session.connect`: a pooler may refuse the `options` that the pool would send."""
    return session.connect(parameters)


def _records(table: sa.Table, records: Iterable[Record]) -> dict[Key, Record]:
    key = tables.KEYS[table.name]
    return {tuple(record[column] for column in key): record for record in records}  # type: ignore[misc]  # keys are text or numbers


def _parts(table: str, change: TableChanges) -> Iterator[SavePart]:
    """Yield the statements that save a table's changes, in order, but no deletes that `loses_first` has made before."""
    if change.deletes and not statements.loses_first(table, change):
        yield from _deletes(table, change)
    for key, columns in change.updates.items():
        yield SavePart.update(table, key, {name: after for name, (_, after) in columns.items()})
    for records in statements.few(change.inserts.values()):
        yield SavePart.insert(table, records)


def _with_heads(changes: dict[str, TableChanges]) -> dict[str, TableChanges]:
    """Add to the player's row the number and digest of the receipt that is inserted."""
    receipts = changes.get(tables.action_receipts.name, TableChanges()).inserts.values()
    numbered = [record for record in receipts if record["seq"] is not None]
    if not numbered:
        return changes
    users = changes.get(tables.users.name, TableChanges())
    updates = dict(users.updates)
    for record in numbered:
        head: dict[str, tuple[Value, Value]] = {column: (None, record[column]) for column in ("seq", "chain")}
        player = (text(record, "user_id"),)
        updates[player] = updates.get(player, {}) | head
    return {tables.users.name: replace(users, updates=updates)} | {
        name: change for name, change in changes.items() if name != tables.users.name
    }


def _deletes(table: str, change: TableChanges) -> Iterator[SavePart]:
    for keys in statements.few(change.deletes):
        yield SavePart.delete(table, keys)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the driver's errors in the store's words. What is neither transient nor a fence is a defect, and passes."""
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable("every connection of the pool is in use") from error
    except sa.exc.DBAPIError as error:
        failure = _failure(error.orig, lost=error.connection_invalidated)
        if failure is None:
            raise
        raise failure from error
    except psycopg.Error as error:  # From `begin_first`, which runs outside SQLAlchemy.
        failure = _failure(error)
        if failure is None:
            raise
        raise failure from error


def _failure(original: BaseException | None, *, lost: bool = False) -> StoreFailure | None:
    state = original.sqlstate if isinstance(original, psycopg.Error) else None
    message = str(original).strip().partition("\n")[0]
    if state == FENCE_SQLSTATE:
        # In the words of a command that finds the fence before it writes: to its player it makes no difference.
        return Moved(MOVED) if message.endswith("moved") else Fenced("fenced")
    if state in NO_GAME_HERE:
        return StoreUnavailable(f"the database is not migrated: {message}; {MIGRATE}")
    if state in AGAIN:
        return TryAgain("tx_rolled_back", f"{state} {message}")
    lost = lost or (state is None and isinstance(original, psycopg.OperationalError))
    if lost or (state is not None and state.startswith(UNREACHABLE_CLASSES)):
        return TryAgain("db_unreachable", f"{state or 'lost'} {message}")
    return None
