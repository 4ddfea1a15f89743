"""A workspace's masked texts in, lessons to the service out, in their order: what makes it write as the workspace does.

The service keeps them in memory only, under an id that says nothing of the folder. Ignores what they say.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress

from lsp_server.link import Link
from model_runtime.errors import LacunaRuntimeError
from model_runtime.protocol import Lesson
from retrieval.worker import Texts


def workspace(root: str | None) -> str:
    """The id of a workspace folder, the same for every editor; empty for a file outside them all."""
    return "" if root is None else hashlib.sha256(root.encode()).hexdigest()[:32]


class Teaching:
    """One lesson after the other. Use it on one event loop."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._turn = asyncio.Lock()  # first come, first served: a lesson never overtakes an older one

    async def teach(self, root: str, told: Texts) -> None:
        """Pass texts on. A service that is gone learns nothing: it is told everything anew once it is back."""
        async with self._turn:
            with suppress(LacunaRuntimeError):
                await self._link.learn(Lesson(workspace(root), told.texts, told.more))
