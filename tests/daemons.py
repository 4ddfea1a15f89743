"""A folder for daemons of one test: settings that lead there, and the end of whatever was started there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lacuna import lock
from lacuna.settings import Settings

PATIENCE = 30.0  # seconds that a wait in these tests may take at most


@contextlib.contextmanager
def settings(model: Path, cache: Path) -> Iterator[Settings]:
    """Settings of a user who has nothing yet; afterwards every daemon of theirs is killed."""
    folder = Path(tempfile.mkdtemp(prefix="lacuna-test-"))  # a test's own folder may be too long for a socket
    try:
        yield Settings(cache=cache, model=model, runtime=folder, idle_exit=PATIENCE)
    finally:
        for path in folder.glob("*.lock"):
            kill(path)
        shutil.rmtree(folder)


def kill(path: Path) -> None:
    """End the daemon that holds this lock, if one does."""
    held = lock.take(path)
    if held is not None:
        os.close(held)
    elif (holder := lock.holder(path)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder, signal.SIGKILL)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """For a process that is to have these settings, and no other's."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LACUNA_", "XDG_"))}
    nowhere = str((settings.runtime or Path()) / "config.toml")
    return {**own, "LACUNA_CONFIG": nowhere, **settings.to_environment(), **more}
