"""The manifest in, source files out: fetched once by name, read from the archives, licence checked.

Uses the ordinary package clients (`pip download`, `npm pack`) and a cache folder; what was got is pinned
by version and SHA-256 in the lock. Ignores what the files say: `filters` and `duplicates` judge that.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path, PurePosixPath

import msgspec

MANIFEST = Path(__file__).parent / "packages.toml"
LOCK = Path(__file__).parent / "packages.lock.json"
PERMISSIVE = frozenset(
    ["MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "PSF-2.0", "Zlib", "Unlicense", "0BSD", "MIT-0"]
)
LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".tsx": "typescript",
    ".go": "go",
    ".rs": "rust",
    ".java": "java",
    ".c": "c",
    ".h": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".hpp": "cpp",
    ".hh": "cpp",
}
_COPYLEFT = re.compile(r"(?i)GPL|\bMPL|Mozilla|Lesser General|Eclipse|\bEPL|CDDL|Creative")
_WORDING = {
    "MIT": "Permission is hereby granted, free of charge",
    "BSD": "Redistribution and use in source and binary forms",
    "Apache": "Apache License",
    "ISC": "Permission to use, copy, modify, and/or distribute",
}
STANDARD_LIBRARY = "python-standard-library"
_LARGEST = 200_000  # bytes: a longer source file is data or generated


class SourceError(ValueError):
    """A package cannot be had as the manifest names it. The text says what to do."""


@dataclass(frozen=True)
class Package:
    """One line of the manifest. ecosystem: "python" or "npm"; role: "train" or "held_out"."""

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
                if licence not in PERMISSIVE:
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
    declared = declared_licence(archive)
    _check_licence(package, declared)
    got = Pin(
        ecosystem=package.ecosystem,
        name=package.name,
        version=_version(package, archive),
        licence=package.licence,
        role=package.role,
        archive=archive.name,
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        declared=declared,
    )
    if pin and pin.sha256 != got.sha256:
        raise SourceError(f"{package.name}: the archive differs from the lock; delete {archive.name} and try again")
    return got


def declared_licence(archive: Path) -> str:
    """What a package says of its licence: its metadata, or else the words of its licence file; "" for nothing."""
    if archive.suffix != ".whl":
        with tarfile.open(archive) as packed:
            for member in packed:
                if re.fullmatch(r"[^/]+/package\.json", member.name):
                    stream = packed.extractfile(member)
                    return str(json.loads(stream.read()).get("license", "")) if stream else ""
        return ""
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if ".dist-info/" in name]
        metadata = Parser().parsestr(opened.read(next(n for n in names if n.endswith("/METADATA"))).decode("utf-8"))
        classified = [one for one in metadata.get_all("Classifier", []) if one.startswith("License")]
        said = [metadata["License-Expression"], metadata["License"], *(one.rpartition("::")[2] for one in classified)]
        found = " ".join(" ".join((one or "").split())[:60] for one in said).strip()
        texts = [opened.read(name).decode("utf-8", "replace") for name in names if "icense" in name.lower()]
    named = (licence for licence, words in _WORDING.items() if any(words in " ".join(t.split()) for t in texts))
    return found or next(named, "")


def _check_licence(package: Package, declared: str) -> None:
    family = package.licence.partition("-")[0].lower()
    if _COPYLEFT.search(declared) or family not in declared.lower():
        raise SourceError(
            f"{package.name}: listed under {package.licence}, says {declared or 'nothing'!r}; "
            f"correct {MANIFEST.name} or take it out"
        )


def files(pin: Pin, cache: Path) -> Iterator[SourceFile]:
    """The package's source files in the order of their paths, those that are UTF-8 text and not huge."""
    archive = cache / pin.ecosystem / pin.archive
    for path, raw in sorted(_members(archive)):
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
    language = LANGUAGES.get(PurePosixPath(path).suffix)
    if language is None or path.endswith(".d.ts") or not 60 <= len(raw) <= _LARGEST:
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(package, role, path, language, text)


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as opened:
            for one in opened.infolist():
                if PurePosixPath(one.filename).suffix in LANGUAGES and one.file_size <= _LARGEST:
                    yield one.filename, opened.read(one)
        return
    with tarfile.open(archive) as packed:
        for member in packed:
            if not member.isfile() or PurePosixPath(member.name).suffix not in LANGUAGES or member.size > _LARGEST:
                continue
            stream = packed.extractfile(member)
            if stream is not None:
                yield member.name.partition("/")[2], stream.read()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _cached(package: Package, folder: Path) -> Path | None:
    if package.ecosystem == "npm":
        stem = package.name.removeprefix("@").replace("/", "-")
        found = [path for path in folder.glob("*.tgz") if re.fullmatch(re.escape(stem) + r"-\d[^/]*\.tgz", path.name)]
    else:
        found = [path for path in folder.iterdir() if _plain(path.name.split("-")[0]) == _plain(package.name)]
    return max(found, default=None)


def _version(package: Package, archive: Path) -> str:
    if package.ecosystem == "npm":
        stem = package.name.removeprefix("@").replace("/", "-")
        return archive.name.removeprefix(stem + "-").removesuffix(".tgz")
    return archive.name.split("-")[1]


def _download(package: Package, folder: Path, version: str | None) -> Path:
    if package.ecosystem == "npm":
        wanted = f"{package.name}@{version}" if version else package.name
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), wanted]
    else:
        wanted = f"{package.name}=={version}" if version else package.name
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--disable-pip-version-check", "--dest", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ.copy())
    found = _cached(package, folder)
    if done.returncode or found is None:
        reason = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
        raise SourceError(f"cannot fetch {wanted}: {reason}; check the network or take it out of {MANIFEST.name}")
    return found
