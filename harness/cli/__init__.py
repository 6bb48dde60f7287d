"""The command line: a task's options, and the check of a whole command line before its first task runs."""

from harness.cli.command_line import check
from harness.cli.options import Whole
from harness.cli.tasks import task

__all__ = ["Whole", "check", "task"]
