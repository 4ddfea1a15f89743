"""The locked packages that no model learnt from in, their sources out: for fitting, or for judging what was fitted.

Fetches an archive once, with the ordinary package client, into a cache folder. Ignores what is done with the texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training import corpus, sources

CACHE = Path(__file__).resolve().parent.parent / "training" / "runs" / "out" / "cache"

# Whatever is fitted by what people would have typed sees the first ones only, and is judged by the others.
FITTED = (
    "rich", "attrs", "pydantic", "fastify", "golang-github-spf13-cobra-dev", "librust-clap-dev", "libspdlog-dev",
)  # fmt: skip
JUDGED = (
    "click", "httpx", "immer", "golang-github-gin-gonic-gin-dev", "librust-tower-dev", "libhiredis-dev",
    "nlohmann-json3-dev",
)  # fmt: skip

_BUILT = re.compile(r"(^|/)(?:dist|build)/|\.min\.")  # says again what the sources say


@dataclass(frozen=True)
class Package:
    """A package's source files: path inside it → text with \\n between its lines."""

    name: str
    files: dict[str, str]


def packages(names: Sequence[str], cache: Path = CACHE) -> list[Package]:
    """The named packages. Raises ValueError for one that is not held out, SourceError when one cannot be had."""
    pins = {pin.name: pin for pin in corpus.read_lock() if pin.role == "held_out"}
    listed = {one.name: one for one in sources.packages() if one.role == "held_out"}
    unknown = [name for name in names if name not in pins or name not in listed]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not among the held-out packages, which are {', '.join(sorted(pins))}")
    found = []
    for name in names:
        pin = sources.fetch(listed[name], cache, pins[name])
        files = {file.path: file.text for file in sources.files(pin, cache) if not _BUILT.search(file.path)}
        found.append(Package(name, files))
    return found
