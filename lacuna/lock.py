"""A path in, a lock on it out, held until its descriptor is closed or its last holder dies.

The lock belongs to the open file, so a process that takes it can hand it to the daemon it starts, and
of ten that want to start one, one does. Unix only.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lacuna.errors import DaemonError


def take(path: Path) -> int | None:
    """A descriptor that holds the lock; None when somebody else does. Raises DaemonError."""
    import fcntl  # not there on Windows, where `place` has said so before

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DaemonError(
            f"cannot open {path}: {error.strerror}; mend its rights or set LACUNA_RUNTIME_DIR to a folder of your own"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def sign(descriptor: int) -> None:
    """Write this process's id into a lock that is held. A full disk is no reason to fail."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the lock that is held is still the one at the path: folders get cleaned."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def holder(path: Path) -> int | None:
    """The process that signed last, whether or not it still lives."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
