"""Files in, what they say out, read anew when they have changed; what no longer makes sense is as it was last.

Asked often, it looks at the files' times only. Ignores what is in them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from lacuna.errors import LacunaError

Value = TypeVar("Value")
_log = logging.getLogger(__name__)


class Fresh(Generic[Value]):
    """What `read` makes of these files, as they are now. Raises what `read` raises, the first time only."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value]) -> None:
        self._paths, self._read = paths, read
        self._seen = self._look()
        self._value = read()

    def __call__(self) -> Value:
        """The value. After a change that makes no sense the last one goes on, and the log says why."""
        now = self._look()
        if now != self._seen:
            self._seen = now
            try:
                self._value = self._read()
                _log.info("read %s again", self._paths[0])
            except (LacunaError, OSError) as error:
                _log.error("what was read last goes on: %s", error)
        return self._value

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
