"""The game service: what players can do, and the two stores it can do it on."""
