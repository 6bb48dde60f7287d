"""Proof, in rooms, each of which knows those above it in this list alone. pytest's side is the modules beside them.

- databases: fresh ones by the dozen; scenarios: their files, read and checked; wire: a proxy that sees each round trip
- play: a scenario on a store, and what is expected of it
- sweeps: the same under faults, and in every order; live: the real service, its clients, receipts and smoke
- rehearsal: the whole move and the way back, under load
- gate: all of that for one commit, and its certificate
- cli: the options of the tasks, and the check of a whole command line
- moves: cutover, rollback, transfer, snapshots; report: a gate's page; audit: broken on purpose; bench: measured
"""
