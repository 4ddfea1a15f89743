"""Our sources and a model's manifest in, a build id out; two ids in, which is newer.

An id reads `0.1.0+1763752800.3f9a0c21d4e7`: version, newest change in seconds since 1970, SHA-256 of
sources and manifest. Ids are totally ordered, so of two installations only one ever replaces the
other's daemon.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import lacuna
import model_runtime
from model_runtime.manifest import MANIFEST

_PACKAGES = (lacuna, model_runtime)  # what a daemon runs


def identify(model: Path) -> str:
    """The build id of this Lacuna with this model. Raises OSError when the manifest cannot be read."""
    sha256 = hashlib.sha256()
    newest = 0.0
    for path in [*_sources(), model / MANIFEST]:
        content = path.read_bytes()
        sha256.update(f"{path.name}\0{len(content)}\0".encode())
        sha256.update(content)
        newest = max(newest, path.stat().st_mtime)
    return f"{lacuna.__version__}+{newest:.0f}.{sha256.hexdigest()[:12]}"


def is_newer(mine: str, theirs: str) -> bool:
    """`mine` should replace `theirs`."""
    return _order(mine) > _order(theirs)


def _order(build: str) -> tuple[list[int], int, str]:
    version, _, rest = build.partition("+")
    changed, _, digest = rest.partition(".")
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    return numbers, int(changed) if changed.isdigit() else 0, digest


def _sources() -> list[Path]:
    folders = [Path(folder) for package in _PACKAGES for folder in package.__path__]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))
