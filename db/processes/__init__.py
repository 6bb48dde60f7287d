"""Programs that a command starts, which end with it, and signals that reach a command."""
