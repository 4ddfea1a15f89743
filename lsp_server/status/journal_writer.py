"""What became of requests and suggestions in, lines of the user's journal out if they want one, and a gate moved by it.

Lives on the event loop's thread. Ignores how a fate was found out, and drops what a suggestion said unless the user
wants that kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import msgspec

from lsp_server.completion import gate
from lsp_server.completion.completion_state import CompletionState
from lsp_server.editor.options import Settings
from lsp_server.feedback import journal
from lsp_server.feedback.journal import Journal, Outcome, Record


class JournalWriter:
    """folder: of the journal, None for none. settings: those in force. warn: tells the user something, once."""

    def __init__(
        self, folder: Path | None, state: CompletionState, settings: Callable[[], Settings], warn: Callable[[str], None]
    ) -> None:
        self._journal = None if folder is None else Journal(folder)
        self._state, self._settings, self._warn = state, settings, warn

    @property
    def wanted(self) -> bool:
        """Whether the user asked for it."""
        return self._journal is not None and self._settings().journal != "off"

    def keep(self, record: Record) -> None:
        """A line of the journal. One that cannot be written is told once, and the suggestions go on."""
        if isinstance(record, Outcome):
            self._state.acceptance_average = gate.moved_average(self._state.acceptance_average, record.fate)
        if self._journal is None or not self.wanted:
            return
        if isinstance(record, Outcome) and self._settings().journal != "code":
            record = msgspec.structs.replace(record, text=None)
        try:
            self._journal.write(record)
        except OSError as error:
            self._warn(
                f"Lacuna cannot keep its journal in {self._journal.folder}: {error.strerror}; make room or mend its "
                "rights, or switch the setting `journal` off"
            )

    async def calibrate(self) -> None:
        """Let what became of suggestions move the gate, if that is kept on this machine."""
        self._state.gate = gate.fitted()
        if self._journal is None or not self.wanted:
            return
        folder, since = self._journal.folder, date.today() - timedelta(gate.DAYS)
        with contextlib.suppress(OSError):  # what cannot be read has no say
            self._state.gate = await asyncio.to_thread(
                lambda: gate.calibrated(gate.fitted(), journal.read(folder, since))
            )

    def close(self) -> None:
        """Give the file back."""
        if self._journal is not None:
            self._journal.close()
