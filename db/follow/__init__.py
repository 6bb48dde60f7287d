"""Has the legacy file follow Postgres after a cutover, so that a rollback's window stays that of the first day."""
