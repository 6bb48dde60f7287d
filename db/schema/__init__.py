"""The schema of the game in Postgres: runs and checks its revisions, finds drift, and moves its objects."""
