"""An archive of a package client in, its source files and what it says of its licence out.

Reads wheels, npm's tarballs, Debian's binary packages and, by their .dsc files, its source packages. In Debian's
the licence is taken file by file from the copyright file (DEP-5); a file under another licence than the accepted
ones is passed over.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
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
# Files beside the source that a vocabulary is counted on, by ending or by whole name.
OTHER_LANGUAGES = {
    ".md": "markdown",
    ".rst": "markdown",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".html": "html",
    ".css": "css",
    ".scss": "css",
    ".toml": "toml",
    ".ini": "ini",
    ".sh": "bash",
    ".bash": "bash",
    ".rb": "ruby",
    ".php": "php",
    ".cs": "csharp",
    ".kt": "kotlin",
    ".lua": "lua",
    ".scala": "scala",
    ".swift": "swift",
    ".dart": "dart",
    ".pl": "perl",
    ".sql": "sql",
    ".proto": "proto",
    ".graphql": "graphql",
    ".vue": "vue",
    ".svelte": "vue",
    ".cmake": "cmake",
    "CMakeLists.txt": "cmake",
    "Makefile": "make",
    "Dockerfile": "docker",
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

_PART = re.compile(r"^ ([0-9a-f]{64}) (\d+) (\S+)$", re.MULTILINE)

_RIGHTS = re.compile(r"(?m)^\W*(Copyright (?:\([cC]\)|©|\d|holders?\b.*\d).*|(?:\([cC]\)|©) *\d.*)$")
_ADDRESS = re.compile(r"[<(]?(?:https?://|[\w.+-]+@)[^\s>)]*[>)]?")
_TEMPLATE = re.compile(r"(?i)[\[<{](?:yyyy|year|(?:name of )?copyright (?:owner|holder)s?)[\]>}]")

Stanza = tuple[tuple[str, ...], str]


def language(path: str, languages: Mapping[str, str] = LANGUAGES) -> str:
    """What a file is written in, by its ending or its whole name; "" for none of these languages."""
    name = PurePosixPath(path)
    return languages.get(name.name) or languages.get(name.suffix, "")


def entries(archive: Path, languages: Mapping[str, str] = LANGUAGES) -> Iterator[tuple[str, bytes]]:
    """Path inside the package and bytes of every file that is of these languages by its name and not huge."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            for one in opened.infolist():
                if _is_wanted(one.filename, one.file_size, languages):
                    yield one.filename, opened.read(one)
        return
    stanzas = _stanzas(_copyright(archive)) if archive.suffix in (".deb", ".dsc") else []
    for packed in _tars(archive):
        for name, raw in _tar_members(packed, languages):
            inside = _inside(archive, name)
            if inside and (archive.suffix == ".tgz" or file_is_accepted(stanzas, inside)):
                yield inside, raw


def parts(dsc: Path) -> dict[str, int]:
    """The tarballs of a Debian source package and their bytes. Raises ValueError when one is not what the .dsc says."""
    text = dsc.read_text(encoding="utf-8", errors="replace")
    found = {}
    for digest, size, name in _PART.findall(text[text.find("Checksums-Sha256:") : text.find("\nFiles:")]):
        if ".tar." in name and not name.endswith(".asc"):
            if hashlib.sha256((dsc.parent / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{name} differs from {dsc.name}; delete it and try again")
            found[name] = int(size)
    return found


def declared_licence(archive: Path) -> str:
    """What a package says of its licence: its metadata, or else the words of its licence file; "" for nothing."""
    if archive.suffix == ".whl":
        return _wheel_licence(archive)
    if archive.suffix in (".deb", ".dsc"):
        return "; ".join(sorted({licence for _, licence in _stanzas(_copyright(archive))}))
    with tarfile.open(archive) as packed:
        for member in packed:
            stream = packed.extractfile(member) if re.fullmatch(r"[^/]+/package\.json", member.name) else None
            if stream is not None:
                return str(json.loads(stream.read()).get("license", ""))
    return ""


def copyrights(archive: Path) -> list[str]:
    """Who holds the rights, line by line as the package says it, without repeats and addresses."""
    if archive.suffix in (".deb", ".dsc"):
        fields = re.findall(r"(?mi)^Copyright:[ \t]*((?:.*\n)(?:[ \t]+.*\n)*)", _copyright(archive) + "\n")
        lines = [line.strip() for field in fields for line in field.splitlines()]
    else:
        lines = [found for text in _licences(archive) for found in _RIGHTS.findall(text)]
    plain = (" ".join(_ADDRESS.sub("", line).split()) for line in lines)
    return list(dict.fromkeys(line for line in plain if re.search(r"\w", line) and not _TEMPLATE.search(line)))


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


def _is_wanted(name: str, size: int, languages: Mapping[str, str]) -> bool:
    return bool(language(name, languages)) and size <= LARGEST


def _inside(archive: Path, name: str) -> str:
    """The path inside the package of a tarball's member; "" for what is not the package's own."""
    if archive.suffix == ".deb":
        return _ROOTS.sub("", name) if _ROOTS.match(name) else ""
    folder, _, inside = name.removeprefix("./").partition("/")
    return "" if archive.suffix == ".dsc" and "debian" in (folder, inside.partition("/")[0]) else inside


def _tar_members(packed: tarfile.TarFile, languages: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for member in packed:
        is_wanted = member.isfile() and _is_wanted(member.name, member.size, languages)
        stream = packed.extractfile(member) if is_wanted else None
        if stream is not None:
            yield member.name, stream.read()


def _tars(archive: Path) -> Iterator[tarfile.TarFile]:
    if archive.suffix == ".deb":
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        done = subprocess.run(command, capture_output=True, check=True, timeout=300)
        found: list[Path | io.BytesIO] = [io.BytesIO(done.stdout)]
    else:
        found = [archive.parent / name for name in parts(archive)] if archive.suffix == ".dsc" else [archive]
    for one in found:
        with tarfile.open(one) if isinstance(one, Path) else tarfile.open(fileobj=one) as packed:
            yield packed


def _copyright(archive: Path) -> str:
    place = re.compile(r"(?:^|/)debian/copyright$" if archive.suffix == ".dsc" else r"/doc/[^/]+/copyright$")
    for packed in _tars(archive):
        for member in packed:
            stream = packed.extractfile(member) if place.search(member.name) else None
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


def _licences(archive: Path) -> list[str]:
    """The texts of the licence files of a wheel or an npm package."""
    wanted = re.compile(r"(?i)(?:^|/)(?:licen[cs]e|copying|notice)[^/]*$")
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if ".dist-info/" in name and wanted.search(name)]
            return [opened.read(name).decode("utf-8", "replace") for name in names]
    found = []
    for packed in _tars(archive):
        for member in packed:
            own = member.name.count("/") == 1 and wanted.search(member.name)
            stream = packed.extractfile(member) if own else None
            if stream is not None:
                found.append(stream.read().decode("utf-8", "replace"))
    return found


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
