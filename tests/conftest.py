"""What every test stands on: folders of its own, so that no test meets the developer's daemon or settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on each run and no clock: a test that fails here fails everywhere.
settings.register_profile("lacuna", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("lacuna")


@pytest.fixture(scope="session", autouse=True)
def _own_folders() -> Iterator[None]:
    """One set of folders for the whole run: caches are shared between tests, nothing with the outside.

    The path is short because a Unix socket's may hold no more than about a hundred bytes.
    """
    home = Path(tempfile.mkdtemp(prefix="lacuna-"))
    saved = dict(os.environ)
    for name in saved:
        if name.startswith("LACUNA_") and not name.startswith("LACUNA_TEST_"):
            del os.environ[name]
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(home / name.lower())
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = os.environ["LACUNA_RUNTIME_DIR"] = str(runtime)
    yield
    os.environ.clear()
    os.environ.update(saved)
    shutil.rmtree(home, ignore_errors=True)
