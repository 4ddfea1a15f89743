"""The manifest in, source files out: fetched once by name, read from the archives, licence checked.

Uses the ordinary package clients (`pip download`, `npm pack`, `apt-get download`, `apt-get source`) and a cache
folder; what was got is pinned by version and SHA-256 in the lock. Ignores what the files say: `filters` and
`duplicates` judge that.
"""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from training import archives

MANIFEST = Path(__file__).parent / "packages.toml"
LOCK = Path(__file__).parent / "packages.lock.json"
_BY_FILE = {"debian": ".deb", "debian-source": ".dsc"}  # ecosystem: ending of its archives
BY_FILE = "DEP-5"  # the licence that stands for: decided file by file, by the package's copyright file
_COPYLEFT = re.compile(r"(?i)GPL|\bMPL|Mozilla|Lesser General|Eclipse|\bEPL|CDDL|Creative")
STANDARD_LIBRARY = "python-standard-library"


class SourceError(ValueError):
    """A package cannot be had as the manifest names it. The text says what to do."""


@dataclass(frozen=True)
class Package:
    """One line of the manifest. role: "train" or "held_out"; ecosystem: "python", "npm" or one of `_BY_FILE`."""

    ecosystem: str
    name: str
    licence: str
    role: str


class Pin(msgspec.Struct, frozen=True):
    """What was got for a package. bytes: of the archive; archive: its file name; declared: the licence as it says."""

    ecosystem: str
    name: str
    version: str
    licence: str
    role: str
    archive: str
    bytes: int
    sha256: str
    declared: str = ""


@dataclass(frozen=True)
class SourceFile:
    """path: inside the package, forward slashes; text: with `\\n` line ends."""

    package: str
    role: str
    path: str
    language: str
    text: str


def packages(manifest: Path = MANIFEST) -> list[Package]:
    """Every package of the manifest, in its order. Raises SourceError for a licence that is not permissive."""
    tables = tomllib.loads(manifest.read_text(encoding="utf-8"))
    found = []
    for ecosystem, roles in tables.items():
        for role, licences in roles.items():
            for licence, names in licences.items():
                by_file = licence == BY_FILE and ecosystem in _BY_FILE
                if licence not in archives.PERMISSIVE and not by_file:
                    raise SourceError(f"{manifest.name}: {licence} is not among the accepted licences; leave it out")
                found += [Package(ecosystem, name, licence, role) for name in names]
    return found


def fetch(package: Package, cache: Path, pin: Pin | None) -> Pin:
    """The package's archive, in `cache`. Raises SourceError when it cannot be had or differs from the pin."""
    folder = cache / package.ecosystem
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / pin.archive if pin else _cached(package, folder)
    if archive is None or not archive.exists():
        archive = _download(package, folder, pin.version if pin else None)
    raw = archive.read_bytes()
    declared = archives.declared_licence(archive)
    _check_licence(package, declared)
    got = Pin(
        ecosystem=package.ecosystem,
        name=package.name,
        version=_version(package, archive),
        licence=package.licence,
        role=package.role,
        archive=archive.name,
        bytes=sum(archives.parts(archive).values()) if archive.suffix == ".dsc" else len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        declared=declared,
    )
    if pin and pin.sha256 != got.sha256:
        raise SourceError(f"{package.name}: the archive differs from the lock; delete {archive.name} and try again")
    return got


def _check_licence(package: Package, declared: str) -> None:
    if package.ecosystem in _BY_FILE:  # decided file by file
        if not any(archives.licence_is_accepted(one) for one in declared.split("; ")):
            raise SourceError(f"{package.name}: no file of it is under an accepted licence ({declared}); take it out")
        return
    family = package.licence.partition("-")[0].lower()
    if _COPYLEFT.search(declared) or family not in declared.lower():
        raise SourceError(
            f"{package.name}: listed under {package.licence}, says {declared or 'nothing'!r}; "
            f"correct {MANIFEST.name} or take it out"
        )


def files(pin: Pin, cache: Path) -> Iterator[SourceFile]:
    """The package's source files in the order of their paths, those that are UTF-8 text and not huge."""
    archive = cache / pin.ecosystem / pin.archive
    for path, raw in sorted(archives.entries(archive)):
        source = _source(pin.name, pin.role, path, raw)
        if source is not None:
            yield source


def standard_library() -> Iterator[SourceFile]:
    """The running interpreter's own library, without its tests and what is installed into it."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if {"site-packages", "lib2to3", "__pycache__", "pydoc_data"} & set(inside.parts) or path.is_symlink():
            continue
        source = _source(STANDARD_LIBRARY, "train", inside.as_posix(), path.read_bytes())
        if source is not None:
            yield source


def standard_library_pin() -> Pin:
    """How the lock names the standard library: by the version of the interpreter."""
    digest = hashlib.sha256()
    for source in standard_library():
        digest.update(source.path.encode() + b"\0" + source.text.encode() + b"\0")
    return Pin("python", STANDARD_LIBRARY, platform.python_version(), "PSF-2.0", "train", "", 0, digest.hexdigest())


def _source(package: str, role: str, path: str, raw: bytes) -> SourceFile | None:
    language = archives.LANGUAGES.get(PurePosixPath(path).suffix)
    if language is None or path.endswith(".d.ts") or not 60 <= len(raw) <= archives.LARGEST:
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(package, role, path, language, text)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _cached(package: Package, folder: Path) -> Path | None:
    if package.ecosystem == "npm":
        found = [path for path in folder.glob("*.tgz") if re.fullmatch(_stem(package) + r"-\d[^/]*\.tgz", path.name)]
    elif package.ecosystem in _BY_FILE:
        found = list(folder.glob(f"{package.name}_*{_BY_FILE[package.ecosystem]}"))
    else:
        found = [path for path in folder.iterdir() if _plain(path.name.split("-")[0]) == _plain(package.name)]
    return max(found, default=None)


def _stem(package: Package) -> str:
    return re.escape(package.name.removeprefix("@").replace("/", "-"))


def _version(package: Package, archive: Path) -> str:
    if package.ecosystem == "npm":
        return re.sub(f"^{_stem(package)}-", "", archive.name).removesuffix(".tgz")
    if package.ecosystem in _BY_FILE:
        return archive.name.removesuffix(".dsc").split("_")[1].replace("%3a", ":")
    return archive.name.split("-")[1]


def _download(package: Package, folder: Path, version: str | None) -> Path:
    command = _command(package, version)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    found = _cached(package, folder)
    if done.returncode or found is None:
        reason = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
        raise SourceError(f"cannot fetch {package.name}: {reason}; check the network or take it out of {MANIFEST.name}")
    return found


def _command(package: Package, version: str | None) -> list[str]:
    """The package client's own command that leaves the archive in the folder it runs in."""
    if package.ecosystem == "npm":
        return ["npm", "pack", "--silent", f"{package.name}@{version}" if version else package.name]
    if package.ecosystem in _BY_FILE:
        verb = ["download"] if package.ecosystem == "debian" else ["source", "--download-only"]
        return ["apt-get", "--quiet", *verb, f"{package.name}={version}" if version else package.name]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    return [*pip, "--disable-pip-version-check", f"{package.name}=={version}" if version else package.name]
