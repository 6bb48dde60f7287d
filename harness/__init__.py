"""The test harness. Packages are listed bottom-up; each imports only those before it.

- databases: fresh ones by the dozen; scenarios: their files, read and checked; wire: a proxy that sees each round trip
- play: a scenario on a store, and what is expected of it
- sweeps: the same under faults, and in every order
- load: the real service under virtual users, and the count of what it answered; smoke: scenarios over HTTP
- rehearsal: the whole move and the way back, under load
- gate: all of that for one commit, and its certificate
- report: the page of a gate; audit: each promise broken on purpose; bench: measured beside others
- cli: the tasks, what they do, and the check of a whole command line; pytest_plugin: pytest's side of it all
"""
