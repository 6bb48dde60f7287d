"""Remedies that nothing in tests/remedies follows: by module how many, and the test that does, or why none can."""

from __future__ import annotations

RACE = (
    "another process has to come between two statements of one run; the tests of that race make it; the remedy is to"
    " look, or to run again"
)
SERVER = "a throwaway server has to break while it starts or ends; the remedy is for the machine"
RIGHTS = "needs another user of the machine, whose rights this user has not, or a full disk"
DEFECT = "needs a defect of ours that changes a value on the way: the audit makes some"

TESTED: dict[str, tuple[int, str]] = {
    "db/cutover/dry_run.py": (1, "tests/db/test_cutover_hooks.py"),
    "db/cutover/hooks.py": (4, "tests/db/test_cutover_hooks.py"),
    "db/cutover/ownership.py": (3, "tests/db/test_cutover_crossed.py"),
    "db/cutover/recovery.py": (12, "tests/db/test_states.py"),
    "db/cutover/rollback.py": (6, "tests/db/test_states.py"),
    "db/cutover/rollback_steps.py": (2, "tests/db/test_lift_lost.py"),
    "db/cutover/run.py": (3, "tests/db/test_cutover_watch.py"),
    "db/cutover/target_checks.py": (8, "tests/db/test_printed_sql.py"),
    "db/drift.py": (4, "tests/db/test_drift.py"),
    "db/environments.py": (2, "tests/db/test_libpq.py"),
    "db/fence.py": (4, "tests/db/test_fence.py"),
    "db/migrate.py": (8, "tests/db/test_migrate.py"),
    "db/new_revision.py": (6, "tests/db/test_new_revision.py"),
    "db/pooler.py": (3, "tests/db/test_pooled_target.py"),
    "db/requirements.py": (28, "tests/db/test_server_settings.py"),
    "db/revisions.py": (8, "tests/db/test_revisions.py"),
    "db/servers/sources.py": (3, "tests/db/test_servers.py"),
    "db/snapshots/postgres.py": (1, "tests/db/test_snapshots.py"),
    "db/transfer/checks.py": (4, "tests/db/test_transfer_remedies.py"),
    "db/transfer/conversion_proof.py": (1, "tests/db/test_convert.py"),
    "db/transfer/convert.py": (7, "tests/db/test_convert.py"),
    "db/transfer/encoded_schema.py": (1, "tests/db/test_convert.py"),
    "db/transfer/faults.py": (3, "tests/db/test_transfer_remedies_beside.py"),
    "db/transfer/schema.py": (1, "tests/db/test_transfer_remedies.py"),
    "db/transfer/source.py": (1, "tests/db/test_transfer_remedies.py"),
    "harness/audit/run.py": (3, "tests/harness/audit/test_audit.py"),
    "harness/bench/actions.py": (1, "tests/harness/bench/test_bench.py"),
    "harness/bench/databases.py": (1, "tests/harness/bench/test_bench.py"),
    "harness/gate/admission.py": (1, "tests/harness/gate/test_certificate.py"),
    "harness/gate/certificate.py": (10, "tests/harness/gate/test_certificate.py"),
    "harness/live/smoke.py": (3, "tests/harness/live/test_smoke.py"),
}

NOT_FOLLOWED: dict[str, tuple[int, str]] = {
    "db/cutover/checks.py": (
        1,
        "an error of another program that no check foresees; it is handed on with what that program said",
    ),
    "db/cutover/deadline.py": (
        1,
        "needs a copy that takes longer than predicted; a run that is past its budget has undone itself",
    ),
    "db/cutover/places.py": (7, RIGHTS),
    "db/cutover/preflight.py": (
        2,
        "needs a service that starts on one store and not on the other: tests/db/test_cutover_dry_run.py makes one",
    ),
    "db/cutover/services.py": (2, "needs a service that hangs while it restarts: tests/db/test_services.py makes one"),
    "db/cutover/steps.py": (
        1,
        "needs a rollback that died before it put the rows away: test_rest_left.py has one, and runs rollback again",
    ),
    "db/cutover/switch.py": (1, "needs a hook that writes the pointer back: tests/db/test_cutover_hooks.py has one"),
    "db/cutover/turning.py": (1, RACE),
    "db/ops.py": (6, RACE),
    "db/relocation.py": (1, RACE),
    "db/servers/accounts.py": (2, SERVER),
    "db/servers/external.py": (1, SERVER),
    "db/servers/guard.py": (3, SERVER),
    "db/servers/server.py": (1, SERVER),
    "db/servers/sessions.py": (2, SERVER),
    "db/servers/settings.py": (1, SERVER),
    "db/servers/tools.py": (1, SERVER),
    "db/service_file.py": (1, RIGHTS),
    "db/snapshots/__init__.py": (1, "needs a snapshot of a version that named its tables otherwise"),
    "db/snapshots/legacy.py": (3, RIGHTS),
    "db/snapshots/manifest.py": (2, RIGHTS),
    "db/snapshots/tools.py": (2, SERVER),
    "db/transfer/carriage.py": (4, RACE),
    "db/transfer/guards.py": (6, RACE),
    "db/transfer/loading.py": (1, RACE),
    "db/transfer/proof.py": (1, DEFECT),
    "db/transfer/rebuild.py": (1, RIGHTS),
    "harness/audit/copies.py": (2, "needs a checkout without git, or a site that puts its own modules first"),
    "harness/databases/start_state.py": (1, SERVER),
    "harness/live/clients.py": (1, "needs a service that hangs for two minutes"),
    "harness/moves/revisions.py": (1, "tests/db/test_new_revision.py makes revisions on development alone"),
    "harness/moves/transfers.py": (1, DEFECT),
    "harness/rehearsal/run.py": (
        1,
        "a rehearsal takes a minute; tests/harness/rehearsal runs it with the option that is named",
    ),
    "harness/report/files.py": (1, "the second text of the remedy that a page of no gate follows"),
    "tasks.py": (1, "needs a machine without Docker"),
}
