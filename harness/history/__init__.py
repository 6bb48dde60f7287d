"""The history checker: what clients were answered and what the stores have is one serial history a player."""
