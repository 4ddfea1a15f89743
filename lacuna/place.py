"""Settings in, the daemon's private folder and the names in it out. Starts nothing.

A daemon has a socket, a lock it holds for life, and a log. Their names carry the protocol's number and
the model, so that a daemon of another protocol or model has its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lacuna.errors import DaemonError
from lacuna.settings import Settings
from model_runtime.protocol import PROTOCOL

PATH_LIMIT = 100  # bytes; the kernel's own limit for a socket's path is 108 on Linux, 104 on macOS

_NAME = re.compile(r"(\d+-(?:embedded|[0-9a-f]{8}))\.(?:sock|lock|log.*)")


@dataclass(frozen=True)
class DaemonPlace:
    """Where one daemon is met."""

    folder: Path
    name: str
    log: Path

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / f"{self.name}.sock"

    @property
    def lock(self) -> Path:
        """What it holds a lock on as long as it lives; its process id is written there."""
        return self.folder / f"{self.name}.lock"


def find(settings: Settings, environment: Mapping[str, str] = os.environ) -> DaemonPlace:
    """The place of the daemon that serves these settings; its folder is made. Raises DaemonError."""
    if not hasattr(os, "geteuid"):
        raise DaemonError("Lacuna's daemon needs Unix sockets; on Windows use WSL, or --no-daemon for one completion")
    name = f"{PROTOCOL}-{_key(settings.model)}"
    folder = settings.runtime or _standard_folder(environment)
    if len(os.fsencode(folder / f"{name}.sock")) > PATH_LIMIT:
        folder = _short_folder(folder, name)
    _make_private(folder)
    return DaemonPlace(folder, name, settings.log or folder / f"{name}.log")


def every(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[DaemonPlace]:
    """The places in the same folder that some daemon has used, of whatever model and protocol. Raises DaemonError."""
    folder = find(settings, environment).folder
    names = {match[1] for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    return [DaemonPlace(folder, name, settings.log or folder / f"{name}.log") for name in sorted(names)]


def _key(model: Path | None) -> str:
    return "embedded" if model is None else hashlib.sha256(os.fsencode(model)).hexdigest()[:8]


def _standard_folder(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and _is_ours(Path(base)):  # after `su` it may still be another user's
        return Path(base) / "lacuna"
    return Path(tempfile.gettempdir()) / f"lacuna-{os.geteuid()}"


def _short_folder(folder: Path, name: str) -> Path:
    """A folder of its own under the temporary one, for a folder whose path is too long for a socket."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    for base in (tempfile.gettempdir(), "/tmp"):
        short = Path(base) / f"lacuna-{os.geteuid()}-{digest}"
        if len(os.fsencode(short / f"{name}.sock")) <= PATH_LIMIT:
            return short
    raise DaemonError(f"{folder} is too long a path for a socket; set LACUNA_RUNTIME_DIR to a shorter one")


def _make_private(folder: Path) -> None:
    cure = "set LACUNA_RUNTIME_DIR to a folder of your own"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except FileExistsError as error:
        raise DaemonError(f"{folder} is not a folder; {cure}") from error
    except OSError as error:
        raise DaemonError(f"cannot make the folder {folder}: {error.strerror}; {cure}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise DaemonError(f"{folder} is a link or no folder, somebody may have put it there; remove it or {cure}")
    if found.st_uid != os.geteuid():
        raise DaemonError(f"{folder} belongs to another user; {cure}")
    if found.st_mode & 0o022:
        raise DaemonError(f"others may write in {folder}; run `chmod 700 {folder}` or {cure}")


def _is_ours(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
