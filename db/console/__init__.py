"""Output for people at a terminal: the lines of a command, its progress, and tables that fit."""
