"""What people see at a terminal: the output of a command, its progress, and tables that fit."""
