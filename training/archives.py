"""An archive of a package client in, its source files and what it says of its licence out.

Reads wheels, npm's tarballs and Debian's binary packages. In the last the licence is taken file by file from
the copyright file (DEP-5); a file under another licence than the accepted ones is passed over.
"""

from __future__ import annotations

import fnmatch
import io
import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path, PurePosixPath

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
LARGEST = 200_000  # bytes: a longer source file is data or generated

_DEBIAN_NAMES = {
    "expat": "MIT",
    "apache-2": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
}
_ACCEPTED = {name.lower() for name in PERMISSIVE} | set(_DEBIAN_NAMES)
_ROOTS = re.compile(
    r"^\./usr/(?:share/cargo/registry/[^/]+/|share/gocode/src/|share/go-[\d.]+/src/|include/(?:[a-z0-9_-]+-linux-gnu/)?|src/)"
)
_WORDING = {
    "MIT": "Permission is hereby granted, free of charge",
    "BSD": "Redistribution and use in source and binary forms",
    "Apache": "Apache License",
    "ISC": "Permission to use, copy, modify, and/or distribute",
}

Stanza = tuple[tuple[str, ...], str]


def entries(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Path inside the package and bytes of every file that is source by its name and not huge."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            for one in opened.infolist():
                if _is_source(one.filename, one.file_size):
                    yield one.filename, opened.read(one)
        return
    stanzas = _stanzas(_copyright(archive)) if archive.suffix == ".deb" else []
    for name, raw in _tar_members(archive):
        if archive.suffix != ".deb":
            yield name.partition("/")[2], raw
        elif _ROOTS.match(name) and file_is_accepted(stanzas, inside := _ROOTS.sub("", name)):
            yield inside, raw


def declared_licence(archive: Path) -> str:
    """What a package says of its licence: its metadata, or else the words of its licence file; "" for nothing."""
    if archive.suffix == ".whl":
        return _wheel_licence(archive)
    if archive.suffix == ".deb":
        return "; ".join(sorted({licence for _, licence in _stanzas(_copyright(archive))}))
    with tarfile.open(archive) as packed:
        for member in packed:
            stream = packed.extractfile(member) if re.fullmatch(r"[^/]+/package\.json", member.name) else None
            if stream is not None:
                return str(json.loads(stream.read()).get("license", ""))
    return ""


def file_is_accepted(stanzas: list[Stanza], path: str) -> bool:
    """Whether DEP-5 puts a file under an accepted licence. Where the root is in doubt, every stanza must agree."""
    parts = PurePosixPath(path).parts
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    named = [licence for patterns, licence in stanzas if patterns != ("*",) and _covers(patterns, tails)]
    general = [licence for patterns, licence in stanzas if patterns == ("*",)]
    found = named or general
    return bool(found) and all(licence_is_accepted(licence) for licence in found)


def licence_is_accepted(expression: str) -> bool:
    """Whether one alternative of an expression such as "Apache-2.0 or MIT and ISC" is accepted throughout."""
    plain = expression.lower().replace("/", " or ").replace("(", " ").replace(")", " ").replace(",", " ")
    alternatives = re.split(r"\bor\b", plain)
    return any(all(part.strip() in _ACCEPTED for part in re.split(r"\band\b", one)) for one in alternatives)


def _is_source(name: str, size: int) -> bool:
    return PurePosixPath(name).suffix in LANGUAGES and size <= LARGEST


def _tar_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    with _tar(archive) as packed:
        for member in packed:
            stream = packed.extractfile(member) if member.isfile() and _is_source(member.name, member.size) else None
            if stream is not None:
                yield member.name, stream.read()


def _tar(archive: Path) -> tarfile.TarFile:
    if archive.suffix != ".deb":
        return tarfile.open(archive)
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], capture_output=True, check=True, timeout=300)
    return tarfile.open(fileobj=io.BytesIO(done.stdout))


def _copyright(archive: Path) -> str:
    with _tar(archive) as packed:
        for member in packed:
            stream = packed.extractfile(member) if re.search(r"/doc/[^/]+/copyright$", member.name) else None
            if stream is not None:
                return stream.read().decode("utf-8", "replace")
    return ""


def _stanzas(copyright_file: str) -> list[Stanza]:
    """(patterns, licence) of each Files stanza; none when the file is not in the machine-readable form."""
    found = []
    for block in re.split(r"\n\s*\n", copyright_file):
        joined = re.sub(r"\n[ \t]+", " ", block)
        files = re.search(r"(?mi)^Files:(.*)$", joined)
        licence = re.search(r"(?mi)^License:[ \t]*(.*)$", block)
        if files and licence:
            found.append((tuple(files.group(1).split()), licence.group(1).strip()))
    return found


def _covers(patterns: tuple[str, ...], tails: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(tail, pattern.removeprefix("./")) for pattern in patterns for tail in tails)


def _wheel_licence(archive: Path) -> str:
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if ".dist-info/" in name]
        metadata = Parser().parsestr(opened.read(next(n for n in names if n.endswith("/METADATA"))).decode("utf-8"))
        classified = [one for one in metadata.get_all("Classifier", []) if one.startswith("License")]
        said = [metadata["License-Expression"], metadata["License"], *(one.rpartition("::")[2] for one in classified)]
        found = " ".join(" ".join((one or "").split())[:60] for one in said).strip()
        texts = [opened.read(name).decode("utf-8", "replace") for name in names if "icense" in name.lower()]
    named = (licence for licence, words in _WORDING.items() if any(words in " ".join(t.split()) for t in texts))
    return found or next(named, "")
