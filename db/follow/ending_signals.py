"""Ends a long task at its next good moment at the first signal, and at once at the second."""

from __future__ import annotations

import signal
from types import FrameType

from db.processes.interruption import Signals, write_line


class GentleSignals(Signals):
    """Signal handlers whose first signal only asks: `asked` names it. The second raises Interrupted, as `Signals`."""

    asked = ""

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._held or self.asked:
            super()._handle(number, frame)
            return
        self.asked = signal.Signals(number).name
        self._received += 1
        write_line(f"{self.asked}: it ends at the end of this round; once more ends it at once.")

    def check(self) -> None:
        """Raise Interrupted where a second signal is pending."""
        if self._pending:
            super().check()
