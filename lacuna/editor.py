"""The language server, composed: this user's daemon or team server behind it, this user's indexes beside it.

Settings are read anew with each attempt to connect, so that a mistake in them is told in the editor, which
stays usable, and mending it is enough.
"""

from __future__ import annotations

from lacuna import __version__, remote
from lacuna.settings import cache_folder, journal_folder, read_settings
from lsp_server import server
from lsp_server.related.connection import Service
from lsp_server.related.indexing import Indexing


def run() -> int:
    """Serve one editor on stdin and stdout until it leaves. Returns the exit code."""
    indexing = Indexing(cache_folder())
    return server.run(_connect, indexing, journal=journal_folder(), version=__version__)


async def _connect() -> Service:
    return await remote.connect(read_settings())
