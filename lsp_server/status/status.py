"""The session, the way to the service and the indexing in, how Lacuna stands out: what an editor's status bar shows.

Knows nothing of when it is told.
"""

from __future__ import annotations

from lsp_server.editor.session import Session
from lsp_server.related.connection import Connection
from lsp_server.related.indexing import Indexing

State = dict[str, str | int | None]


def state(session: Session, connection: Connection, indexing: Indexing | None, *, thinking: bool) -> State:
    """`state` and `reason`, and `percent` while files are read; see docs/editors.md. thinking: a request waits."""
    percent = None if indexing is None else indexing.percent
    if not session.settings.enabled:
        return {"state": "off", "reason": None}
    if session.snoozing:
        return {"state": "off", "reason": "snoozing"}
    if connection.problem is not None:
        return {"state": "error", "reason": connection.problem}
    if thinking:
        return {"state": "thinking", "reason": None}
    if percent is not None:
        return {"state": "indexing", "reason": None, "percent": percent}
    reason = connection.notice or (None if indexing is None else indexing.notice)
    return {"state": "ready" if connection.connected else "starting", "reason": reason}
