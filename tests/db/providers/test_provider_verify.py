"""`invoke provider.verify`: restores beside the source, counts, deletes; killed, stuck or failed too."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.stub import Stubber

from db.environment_plans import ProviderPlan
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal
from db.providers import aws, leftovers, rds, verify
from db.providers.aws import Aws
from db.providers.leftovers import MARK, TAG, Clock, RestoreNames
from db.providers.verify import VerifyConfig, _Counts, _faults
from tests.fixtures.pretended_aws import NAME, REGION
from tests.fixtures.waiting import until

ROOT = Path(__file__).parents[3]


@dataclass
class Time:
    """A clock that moves when somebody sleeps."""

    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextlib.contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        del title, total, unit
        yield lambda _more: None


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def config(time: Time, tmp_path: Path) -> VerifyConfig:
    """The restored instance is where the source is: moto restores no database."""
    clock = Clock(lambda: time.seconds, time.sleep)
    return VerifyConfig(clock, tmp_path / "provider", time, url=lambda env, _made: env.target_direct, minutes=2)


@pytest.fixture
def connected(clients: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setattr(aws, "connect", lambda _env: clients)
    return clients


def left(clients: Aws) -> list[str]:
    """The names of all instances and manual snapshots."""
    return [each.name for each in (*rds.instances(clients), *rds.snapshots(clients, SnapshotType="manual"))]


@pytest.mark.plan(7)
def test_it_restores_beside_the_source_counts_and_deletes_what_it_made(
    on_rds: Environment, connected: Aws, config: VerifyConfig, time: Time
) -> None:
    asked: list[dict[str, Any]] = []
    connected.rds.meta.events.register(
        "provide-client-params.rds.RestoreDBInstanceFromDBSnapshot", lambda params, **_: asked.append(params)
    )
    source = rds.instance(connected, NAME)
    result = verify.run(on_rds, config)
    assert (result.verdict, result.faults, result.counts["users"]) == ("pass", (), 2)
    assert result.recovery_point_minutes is not None
    assert "not run against AWS" in result.not_run
    (request,) = asked
    assert request["DBSubnetGroupName"] == source.subnet_group == "inner"
    assert request["VpcSecurityGroupIds"] == list(source.security_groups)
    assert request["DBParameterGroupName"] == "game"
    assert request["DBInstanceIdentifier"].startswith(MARK)
    assert (left(connected), leftovers.noted(on_rds, config.folder)) == ([NAME], None)
    assert sorted(word.split()[0] for word in result.deleted) == ["instance", "snapshot"]


def test_an_instance_outside_the_sources_network_is_a_failure_and_deleted(
    on_rds: Environment, connected: Aws, config: VerifyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = verify._asked_for
    monkeypatch.setattr(
        verify, "_asked_for", lambda *given: {k: v for k, v in whole(*given).items() if k != "VpcSecurityGroupIds"}
    )
    with pytest.raises(Failure, match="the source's security groups"):
        verify.run(on_rds, config)
    assert left(connected) == [NAME]


@pytest.mark.parametrize(
    ("restored", "after", "faults"),
    [
        ({"users": 2, "mail": 5, "action_receipts": 9}, {}, []),
        ({"users": 2, "mail": 4, "action_receipts": 9}, {}, ["mail: 4 rows, of 5 to 5"]),
        ({"users": 2, "mail": 5, "action_receipts": 11}, {"action_receipts": 12}, []),
        ({"users": 2, "mail": 7, "action_receipts": 11}, {"action_receipts": 12}, []),
        (
            {"users": 2, "mail": 5, "action_receipts": 8},
            {"action_receipts": 12},
            ["action_receipts: 8 rows, of 9 to 12"],
        ),
        ({"users": 0, "mail": 5, "action_receipts": 9}, {"action_receipts": 12}, ["users: 0 rows, of 2 and 2"]),
        ({"mail": 5, "action_receipts": 9}, {"action_receipts": 12}, ["users: 0 rows, of 2 and 2"]),
    ],
)
def test_counts_are_those_of_an_instant_while_players_play(
    restored: dict[str, int], after: dict[str, int], faults: list[str]
) -> None:
    source = {"users": 2, "mail": 5, "action_receipts": 9}
    assert _faults(_Counts("a", source), _Counts("a", restored), _Counts("a", {**source, **after})) == faults


def test_another_database_is_never_taken_for_this_one() -> None:
    rows = {"users": 2, "action_receipts": 9}
    assert _faults(_Counts("a", rows), _Counts("b", rows), _Counts("a", rows)) != []


def described(status: str, name: str = NAME, *, tagged: bool = True) -> dict[str, Any]:
    tags = [{"Key": TAG, "Value": "test"}] if tagged else []
    return {"DBInstances": [{"DBInstanceIdentifier": name, "DBInstanceStatus": status, "TagList": tags}]}


def snapped(status: str, name: str) -> dict[str, Any]:
    return {"DBSnapshots": [{"DBSnapshotIdentifier": name, "Status": status, "TagList": leftovers.tags(TEST)}]}


class _Test:
    name = "test"
    provider = ProviderPlan("rds", NAME, REGION)


TEST: Any = _Test()
MADE = RestoreNames(f"{MARK}test-1", f"{MARK}test-1")


@pytest.fixture
def stubbed(env: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Environment, Stubber]]:
    """An AWS that gives the answers of the test, in their order, and is asked nothing else."""
    for name, value in (("AWS_ACCESS_KEY_ID", "of-the-test"), ("AWS_SECRET_ACCESS_KEY", "of-the-test")):
        monkeypatch.setenv(name, value)
    on_rds = replace(env, provider=ProviderPlan("rds", NAME, REGION))
    clients = aws.connect(on_rds)
    monkeypatch.setattr(aws, "connect", lambda _env: clients)
    monkeypatch.setattr(leftovers, "names", lambda _env: MADE)
    with Stubber(clients.rds) as stub:
        yield on_rds, stub
        stub.assert_no_pending_responses()


def answers(stub: Stubber, *given: tuple[str, dict[str, Any]]) -> None:
    for name, answer in given:
        stub.add_response(name, answer)


BEGUN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("describe_db_instances", described("available")),
    ("create_db_snapshot", {}),
)
UNDONE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("describe_db_instances", described("failed", MADE.instance)),
    ("delete_db_instance", {}),
    ("describe_db_snapshots", snapped("available", MADE.snapshot)),
    ("delete_db_snapshot", {}),
)


def test_an_instance_that_stays_creating_and_then_fails_is_a_failure_and_deleted(
    stubbed: tuple[Environment, Stubber], config: VerifyConfig, time: Time
) -> None:
    env, stub = stubbed
    answers(
        stub,
        *BEGUN,
        *(
            ("describe_db_snapshots", snapped(status, MADE.snapshot))
            for status in ("creating", "creating", "available")
        ),
        ("restore_db_instance_from_db_snapshot", {}),
        *(("describe_db_instances", described(s, MADE.instance)) for s in ("creating", "creating", "failed")),
        *UNDONE,
    )
    with pytest.raises(Failure, match="the instance to become available; found the status failed"):
        verify.run(env, config)
    assert leftovers.noted(env, config.folder) == MADE  # Until AWS says that it is gone.
    assert "the instance is creating, after 0 min" in time.lines
    assert time.lines[-1].startswith("being deleted: instance")


def test_an_instance_that_stays_creating_is_inconclusive_when_the_time_is_up(
    stubbed: tuple[Environment, Stubber], config: VerifyConfig, time: Time
) -> None:
    env, stub = stubbed
    waits = int(config.minutes * 60 / leftovers.POLL_SECONDS) + 2
    answers(
        stub,
        *BEGUN,
        ("describe_db_snapshots", snapped("available", MADE.snapshot)),
        ("restore_db_instance_from_db_snapshot", {}),
        *([("describe_db_instances", described("creating", MADE.instance))] * waits),
        ("describe_db_instances", described("creating", MADE.instance)),
    )
    stub.add_client_error("delete_db_instance", "InvalidDBInstanceState")
    with pytest.raises(Inconclusive, match="in 2 minutes; found the status creating") as ended:
        verify.run(env, config)
    assert ended.value.exit_code == 3
    assert "InvalidDBInstanceState" in time.lines[-1]
    assert "invoke provider.verify --env test --clean" in time.lines[-1]
    assert leftovers.noted(env, config.folder) == MADE


def test_a_snapshot_that_fails_restores_nothing(stubbed: tuple[Environment, Stubber], config: VerifyConfig) -> None:
    env, stub = stubbed
    answers(stub, *BEGUN, ("describe_db_snapshots", snapped("failed", MADE.snapshot)))
    stub.add_client_error("describe_db_instances", "DBInstanceNotFound")
    answers(stub, ("describe_db_snapshots", snapped("failed", MADE.snapshot)), ("delete_db_snapshot", {}))
    with pytest.raises(Failure, match="the snapshot to become available; found the status failed"):
        verify.run(env, config)


def test_an_aws_that_refuses_is_inconclusive(stubbed: tuple[Environment, Stubber], config: VerifyConfig) -> None:
    env, stub = stubbed
    answers(stub, BEGUN[0])
    stub.add_client_error("create_db_snapshot", "AccessDenied")
    stub.add_client_error("describe_db_instances", "DBInstanceNotFound")
    stub.add_client_error("describe_db_snapshots", "DBSnapshotNotFound")
    with pytest.raises(Inconclusive, match="AWS refused CreateDBSnapshot: AccessDenied"):
        verify.run(env, config)


def test_without_credentials_it_is_inconclusive(
    env: Environment, config: VerifyConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (("HOME", str(tmp_path)), ("AWS_EC2_METADATA_DISABLED", "true")):
        monkeypatch.setenv(name, value)
    with pytest.raises(Inconclusive, match="AWS was not asked: Unable to locate credentials"):
        verify.run(replace(env, provider=ProviderPlan("rds", NAME, REGION)), config)


def make(clients: Aws, name: str, environment: str | None) -> None:
    """Make an instance of that name, with the tag of an environment or without."""
    tags = [{"Key": TAG, "Value": environment}] if environment else []
    clients.rds.create_db_instance(
        DBInstanceIdentifier=name, DBInstanceClass="db.m6g.large", Engine="postgres", AllocatedStorage=20, Tags=tags
    )


def test_clean_deletes_what_bears_mark_and_tag_and_nothing_else(
    on_rds: Environment, connected: Aws, config: VerifyConfig
) -> None:
    make(connected, f"{MARK}test-dead", "test")
    others = {f"{MARK}test-untagged": None, f"{MARK}staging-1": "staging", "tagged-only": "test"}
    for name, environment in others.items():
        make(connected, name, environment)
    done = verify.clean(on_rds, config)
    assert done.deleted == (f"instance {MARK}test-dead",)
    assert set(left(connected)) == {NAME, *others}
    assert verify.clean(on_rds, config).deleted == ()


def test_a_note_of_another_name_deletes_nothing_until_it_is_removed(
    on_rds: Environment, connected: Aws, config: VerifyConfig
) -> None:
    leftovers.note(on_rds, RestoreNames(NAME, NAME), config.folder)
    with pytest.raises(Refusal, match=f"names that begin with {MARK}") as refused:
        verify.run(on_rds, config)
    assert "Remove the file, then run: invoke provider.verify --env test --clean" in refused.value.do
    assert left(connected) == [NAME]
    (config.folder / "test.json").unlink()
    assert verify.clean(on_rds, config).deleted == ()


def test_a_noted_name_without_the_tag_is_left_alone(on_rds: Environment, connected: Aws, config: VerifyConfig) -> None:
    make(connected, MADE.instance, None)
    leftovers.note(on_rds, MADE, config.folder)
    with pytest.raises(Inconclusive, match="bears no mark and tag of test, so it was left alone"):
        verify.run(on_rds, config)
    assert MADE.instance in left(connected)


def test_two_at_once_are_refused(on_rds: Environment, connected: Aws, config: VerifyConfig) -> None:
    with verify._alone(on_rds, config.folder), pytest.raises(Refusal, match="no other restore of test") as refused:
        verify.run(on_rds, config)
    assert str(os.getpid()) in refused.value.found


def test_another_provider_is_refused(env: Environment, config: VerifyConfig) -> None:
    with pytest.raises(Refusal, match="found plain"):
        verify.run(env, config)


class Relay(BaseHTTPRequestHandler):
    """Hands the requests of another process to moto here. held: what no answer says to be available."""

    held = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        service = self.headers["Authorization"].split("/")[3]
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type", "X-Amz-Date")}
        answer = requests.post(f"https://{service}.{REGION}.amazonaws.com/", data=body, headers=headers, timeout=60)
        held = f"Action={self.held}".encode() in body and MARK.encode() in body
        content = answer.content.replace(b">available<", b">creating<") if held else answer.content
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


RUN = """
import pickle, sys
from pathlib import Path
from db.providers import verify
env = pickle.loads(bytes.fromhex(sys.argv[1]))
verify.run(env, verify.VerifyConfig(folder=Path(sys.argv[2]), url=lambda env, _made: env.target_direct))
"""


@pytest.mark.parametrize(
    ("held", "made"), [("DescribeDBSnapshots", "snapshots"), ("DescribeDBInstances", "instances")], ids=str
)
def test_what_a_killed_run_left_is_deleted_by_the_next(
    on_rds: Environment,
    connected: Aws,
    config: VerifyConfig,
    monkeypatch: pytest.MonkeyPatch,
    held: str,
    made: str,
) -> None:
    monkeypatch.setattr(Relay, "held", held)
    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, pickle.dumps(on_rds).hex(), str(config.folder)],
            cwd=ROOT,
            env={
                **os.environ,
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{relay.server_port}",
                "AWS_ACCESS_KEY_ID": "of-the-test",
                "AWS_SECRET_ACCESS_KEY": "of-the-test",
            },
        )
        try:
            until(lambda: [] if any(name.startswith(MARK) for name in names(connected, made)) else ["nothing made"])
            assert process.poll() is None
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            relay.shutdown()
    noted = leftovers.noted(on_rds, config.folder)
    assert noted is not None
    assert noted.snapshot in left(connected)
    result = verify.run(on_rds, config)
    assert result.verdict == "pass"
    assert (left(connected), leftovers.noted(on_rds, config.folder)) == ([NAME], None)


def names(clients: Aws, made: str) -> list[str]:
    return [each.name for each in (rds.instances(clients) if made == "instances" else rds.snapshots(clients))]
