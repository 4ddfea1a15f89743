"""A workspace's masked texts in, lessons to the service out, in their order: what makes it write as the workspace does.

The service keeps them in memory only, under an id that says nothing of the folder. A line that is being written is
left out of a file that was saved: it would teach that the line ends there. Ignores what the texts say.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress

from lsp_server.editor.document import split
from lsp_server.related.connection import Connection
from model_runtime.errors import LacunaRuntimeError
from model_runtime.protocol import Lesson
from retrieval.process.worker import Texts


def workspace(root: str | None) -> str:
    """The id of a workspace folder, the same for every editor; empty for a file outside them all."""
    return "" if root is None else hashlib.sha256(root.encode()).hexdigest()[:32]


class NgramSync:
    """One lesson after the other. Use it on one event loop. writing: the line of a file that is being written."""

    def __init__(
        self, connection: Connection, writing: Callable[[str, str], int | None] = lambda root, path: None
    ) -> None:
        self._connection, self._writing = connection, writing
        self._turn = asyncio.Lock()  # first come, first served: a lesson never overtakes an older one

    async def send(self, root: str, message: Texts) -> None:
        """Pass texts on. A service that is gone learns nothing: it is told everything anew once it is back."""
        texts = {path: _without(self._writing(root, path), text) for path, text in message.texts.items()}
        async with self._turn:
            with suppress(LacunaRuntimeError):
                await self._connection.learn(Lesson(workspace(root), texts, message.more))


def _without(line: int | None, text: str) -> str:
    """The text without one of its lines."""
    return text if line is None else "".join(one for at, one in enumerate(split(text)) if at != line)
