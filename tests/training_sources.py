"""A small corpus of made-up packages for the training tests: archives as the package clients would leave them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

from training.sources import Pin, SourceFile

BENCHMARK = "def answer(numbers):\n" + "".join(f"    total_{n} = numbers[{n}] * {n} + 1\n" for n in range(12))


def module(name: str, size: int = 6) -> str:
    """A module with classes that differ from module to module, and uses a name of its neighbour."""
    lines = [f'"""About {name}."""', "", f"from pack.{name}_other import {name.title()}Base", ""]
    for number in range(size):
        lines += [
            f"class {name.title()}{number}({name.title()}Base):",
            f'    """The {name} of number {number}."""',
            "",
            f"    def {name}_{number}(self, {name}_value, other_{number}=None):",
            f"        if other_{number} is None:",
            f"            return self.{name}_total + {name}_value * {number}",
            f"        {name}_list = [one.{name} for one in other_{number} if one]",
            f"        return sum({name}_list) + len({name}_list)",
            "",
        ]
    return "\n".join(lines) + "\n"


def files(count: int = 6) -> list[SourceFile]:
    """One package of modules, each with a neighbour that defines what it imports."""
    found = []
    for name in ("apple", "bridge", "candle", "desert", "engine", "forest")[:count]:
        base = (
            f"class {name.title()}Base:\n    def __init__(self, {name}_total=0):\n        self.{name}_total = 1\n\n\n"
        )
        found.append(SourceFile("pack", "train", f"pack/{name}.py", "python", module(name)))
        found.append(SourceFile("pack", "train", f"pack/{name}_other.py", "python", base))
    return found


def wheel(cache: Path, name: str, role: str, contents: dict[str, str], licence: str = "MIT") -> Pin:
    """Writes a wheel into the cache; its pin."""
    folder = cache / "python"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\nLicense: {licence}\n")
        for inside, text in contents.items():
            archive.writestr(inside, text)
    raw = path.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    return Pin("python", name, "1.0", "MIT", role, path.name, len(raw), digest, licence)


def tarball(path: Path, contents: dict[str, str]) -> Path:
    """Writes a tarball of texts."""
    with tarfile.open(path, "w:gz") as archive:
        for inside, text in contents.items():
            member = tarfile.TarInfo(inside)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def debian_source(folder: Path, copyright_file: str, contents: dict[str, str]) -> Path:
    """Writes a Debian source package, its .dsc last; the path of that."""
    tarballs = [
        tarball(folder / "thing_1.0.orig.tar.gz", {f"thing-1.0/{name}": text for name, text in contents.items()}),
        tarball(
            folder / "thing_1.0-1.debian.tar.gz", {"debian/copyright": copyright_file, "debian/rules.py": "x = 1\n"}
        ),
    ]
    sums = [f" {hashlib.sha256(one.read_bytes()).hexdigest()} {one.stat().st_size} {one.name}\n" for one in tarballs]
    dsc = folder / "thing_1.0-1.dsc"
    dsc.write_text(f"Source: thing\nChecksums-Sha256:\n{''.join(sums)}Files:\n 0 0 odd.tar.gz\n")
    return dsc


def benchmark(folder: Path) -> Path:
    """A benchmark of one record."""
    folder.mkdir(parents=True, exist_ok=True)
    record = json.dumps({"prompt": BENCHMARK, "canonical_solution": "    return 1\n", "suffix": ""})
    (folder / "tasks.jsonl.gz").write_bytes(gzip.compress(record.encode() + b"\n"))
    return folder
