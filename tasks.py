"""The tasks by family: each parses, wires, calls one function, prints, and ends with its exit code.

0 done, 1 failed, 2 refused or misused, 3 inconclusive, 4 undone, 130 interrupted. The bodies, which import what they
need, stand in harness/cli, so that `invoke --list` answers at once.
"""

from invoke.collection import Collection

from harness.cli import bench, cutover, development, environment, gate, operations, snapshot, transfer
from harness.cli.framework import check

namespace = Collection(
    development.test,
    development.nightly,
    development.lint,
    development.up,
    development.down,
    development.serve,
    development.token,
    environment.prepare,
    environment.migrate,
    environment.revision,
    environment.seed,
    environment.reset,
    gate.rehearse,
    cutover.cutover,
    cutover.rollback,
    environment.status,
    operations.follow,
    operations.fence,
    operations.watch,
    operations.upkeep,
    operations.preflight,
    gate.gate,
    gate.report,
    gate.audit,
)
namespace.add_collection(
    Collection(
        "transfer",
        transfer.transfer,
        transfer.profile,
        transfer.mapping,
        transfer.convert,
        transfer.quarantine,
        transfer.replay,
        transfer.cleanup,
    )
)
namespace.add_collection(Collection("snapshot", snapshot.take, snapshot.verify, snapshot.restore, snapshot.kept))
namespace.add_collection(Collection("provider", operations.verify))
namespace.add_collection(
    Collection(
        "bench", bench.bench_actions, bench.bench_databases, bench.bench_round, bench.bench_window, bench.bench_follow
    )
)
check(namespace)
