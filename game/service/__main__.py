"""`python -m game.service`: the supervisor and its processes. Exit code 2 where the settings don't allow a start."""

from __future__ import annotations

import sys

from game import settings
from game.errors import BadSettings
from game.printable import escaped
from game.redaction import redact
from game.service import supervisor
from game.service.logs import configure_logs


def main() -> int:
    """Run until told to stop; the exit code."""
    configure_logs()
    try:
        return supervisor.run(settings.load())
    except (BadSettings, supervisor.CannotStart) as error:
        sys.stderr.write(f"refused: {escaped(redact(str(error)))}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
