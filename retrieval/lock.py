"""A path in, an exclusive lock on it out, or None while another process holds it.

The kernel lets go when the holder dies, however it dies. Ignores what is locked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from retrieval.errors import StoreError


def acquire(path: Path) -> int | None:
    """A descriptor that holds the lock, or None when somebody else does. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be made ({error}); check the cache folder's room and rights") from error
    if _locked(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def release(descriptor: int) -> None:
    """Lets go."""
    os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
