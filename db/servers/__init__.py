"""Where a Postgres comes from: docker, local binaries, the embedded wheel, or a URL."""
