"""Help texts of options that several tasks have."""

from __future__ import annotations

ENV = "development, staging or production, as environments.toml names them; required"
ENV_OR_TEST = f"test, on a throwaway server; or {ENV}"
DEVELOPMENT = "development alone: players own what is in the others"
JSON = "write the result as JSON to this path; - is standard output"
POSTGRES = "docker, local, embedded, embedded18 or a URL, its password in PGPASSWORD; default: the first there is"
YES = "do not ask; production needs --confirm production too"
CONFIRM = "the environment's name, typed once more"
DRY_RUN = "make every check, list the findings and the plan, and change nothing"
PLAYERS = "how many players to make"
LEGACY = "a legacy SQLite file"
SNAPSHOT = "the snapshot's folder, as `invoke snapshot.take` printed it; `invoke status` lists the newest"
UNSIGNED = "admit a snapshot that nobody signed, which staging and production refuse"
