"""Settings in, everything that Lacuna has written on this machine out: found, and removed.

Only what bears a name of ours: a folder that a setting names may hold other people's things.
docs/privacy.md says the same in prose. Ignores what editors keep of their extensions.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lacuna import audit, library, place, tokens
from lacuna.errors import LacunaError, PurgeError
from lacuna.settings import Settings, journal_folder, settings_file

_MADE = {
    "prefill": "a graph made of a model",
    "generate": "a graph made of a model",
    "columns": "a graph made of a model",
    "packed": "a graph made of a model",
    "device": "a graph made of a model",
    "kernels": "a library for this processor",
    "profile": "how fast a model is here",
}


@dataclass(frozen=True)
class Written:
    """A file or folder of ours. size: bytes, with all that is in it."""

    path: Path
    what: str
    size: int


def find(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[Written]:
    """Everything there is now. Stops nothing: a daemon that runs writes again."""
    places = dict(_places(settings, environment))
    return [Written(path, what, _size(path)) for path, what in places.items() if _is_there(path)]


def remove(found: list[Written]) -> None:
    """Removes it, and the folders of ours that are then empty. Raises PurgeError."""
    for one in found:
        try:
            if one.path.is_dir() and not one.path.is_symlink():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
        except OSError as error:
            raise PurgeError(
                f"{one.path} cannot be removed: {error.strerror}; mend its rights, or remove it"
            ) from error
        with contextlib.suppress(OSError):  # not empty: somebody else's things are in it
            one.path.parent.rmdir()


def _places(settings: Settings, environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    yield settings.cache / "index", "indexes of repositories"
    if settings.cache.is_dir():
        for kind, what in _MADE.items():
            yield from ((path, what) for path in sorted(settings.cache.glob(f"{kind}-*")))
    yield library.folder(environment), "imported models"
    yield journal_folder(environment), "the journal of suggestions"
    with contextlib.suppress(LacunaError):
        for daemon in place.every(settings, environment):
            for path in (daemon.socket, daemon.lock):
                yield path, "a daemon's"
            yield from ((path, "a daemon's log") for path in sorted(daemon.log.parent.glob(daemon.log.name + "*")))
    kept = tokens.location(environment)
    for path in (*sorted(kept.parent.glob(f"{kept.name}*")), kept.with_suffix(".lock")):
        yield path, "tokens of a team server"
    yield from ((path, "its audit log") for path in sorted(kept.parent.glob(f"{audit.FILE}*")))
    yield settings_file(environment), "settings"


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())
