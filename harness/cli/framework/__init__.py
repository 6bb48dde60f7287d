"""The command line: a task's options, and the check of a whole command line before its first task runs."""

from harness.cli.framework.command_line import check
from harness.cli.framework.groups import Consent, MoveOptions, OrderOptions
from harness.cli.framework.options import Whole
from harness.cli.framework.tasks import task

__all__ = ["Consent", "MoveOptions", "OrderOptions", "Whole", "check", "task"]
