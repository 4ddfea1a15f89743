"""The manifest in, shards of source text and their statistics out. The text stays out of version control.

Held-out packages come first, so that a training file too like one of theirs is the one to go.
A rebuild from the same lock gives the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from training import duplicates, filters, sources
from training.sources import Pin, SourceError, SourceFile

_SHARD = 32 << 20  # bytes of text in one shard
_NEVER = ("google/vizier", "huggingface/evaluate", "awslabs/fortuna", "alibaba/FederatedScope")
_NEVER_NAMES = {name.rpartition("/")[2].lower() for name in _NEVER} | {"google-vizier", "aws-fortuna"}


@dataclass(frozen=True)
class Judged:
    """One file with what is needed to decide on it apart from its text's meaning."""

    file: SourceFile
    reason: str | None
    exact: bytes
    near: duplicates.Hashes


def fetch_all(cache: Path, relock: bool) -> list[Pin]:
    """Fetch what the manifest names and write the lock. Raises SourceError naming every package that failed."""
    locked = {(pin.ecosystem, pin.name): pin for pin in read_lock()} if not relock else {}
    wanted = sources.packages()
    refused = [one.name for one in wanted if one.name.lower() in _NEVER_NAMES]
    if refused:
        raise SourceError(f"{', '.join(refused)}: benchmark sources are never trained on; take them out")

    def one(package: sources.Package) -> Pin | str:
        try:
            return sources.fetch(package, cache, locked.get((package.ecosystem, package.name)))
        except SourceError as error:
            return str(error)

    with ThreadPoolExecutor(3) as pool:
        got = list(pool.map(one, wanted))
    failed = [text for text in got if isinstance(text, str)]
    if failed:
        raise SourceError("\n".join(failed))
    pins = [sources.standard_library_pin(), *(pin for pin in got if isinstance(pin, Pin))]
    sources.LOCK.write_bytes(msgspec.json.format(msgspec.json.encode(pins), indent=1) + b"\n")
    return pins


def read_lock(path: Path = sources.LOCK) -> list[Pin]:
    """The pins of the last fetch; none when there is no lock yet."""
    if not path.exists():
        return []
    return msgspec.json.decode(path.read_bytes(), type=list[Pin])


def build(pins: list[Pin], cache: Path, data: Path, out: Path, workers: int) -> dict[str, object]:
    """Write the shards and statistics.json under `out`; gives the statistics."""
    out.mkdir(parents=True, exist_ok=True)
    forbidden = duplicates.benchmark_runs(data)
    ordered = sorted(pins, key=lambda pin: pin.role != "held_out")
    seen, counts = duplicates.Seen(), Counter[str]()
    kept: dict[str, list[SourceFile]] = {"train": [], "held_out": []}
    with ProcessPoolExecutor(workers) as pool:
        for judged in pool.map(partial(_judge, cache=cache, forbidden=forbidden), ordered):
            for one in judged:
                reason = one.reason or seen.admit(one.exact, one.near)
                counts[reason or "kept"] += 1
                if reason is None:
                    kept[one.file.role].append(one.file)
    for role, files in kept.items():
        _write_shards(out, role, files)
    statistics = _statistics(kept, counts)
    (out / "statistics.json").write_text(json.dumps(statistics, indent=1) + "\n", encoding="utf-8")
    return statistics


def read(corpus: Path, role: str) -> Iterator[SourceFile]:
    """The kept files of one role, package by package. Raises FileNotFoundError when there are none."""
    shards = sorted(corpus.glob(f"{role}-*.jsonl.?z"))
    if not shards:
        raise FileNotFoundError(f"no {role} shards in {corpus}; run `python -m training corpus` first")
    decoder = json.JSONDecoder()
    for shard in shards:
        raw = shard.read_bytes()
        text = (lzma.decompress(raw) if shard.suffix == ".xz" else gzip.decompress(raw)).decode("utf-8")
        for line in text.split("\n")[:-1]:  # a line feed is the only line end JSON never leaves bare
            package, path, language, content = decoder.decode(line)
            yield SourceFile(package, role, path, language, content)


def pack(corpus: Path, cap: int, seed: int, out: Path) -> int:
    """Write the balanced part of a corpus, and what is held out, as small as it goes; the bytes written.

    For machines that are reached through a narrow door. `read` reads it as it reads the whole.
    """
    out.mkdir(parents=True, exist_ok=True)
    for role in ("train", "held_out"):
        files = balanced(read(corpus, role), cap, seed)
        _write_shards(out, role, files, "xz")
    return sum(path.stat().st_size for path in out.glob("*.jsonl.xz"))


def balanced(files: Iterable[SourceFile], cap: int, seed: int) -> list[SourceFile]:
    """Of each package at most `cap` bytes, drawn at random, a sixth of them tests: no package sets the tone."""
    found: dict[str, list[SourceFile]] = {}
    for file in files:
        found.setdefault(file.package, []).append(file)
    kept = []
    for package, own in sorted(found.items()):
        random.Random(f"{seed} {package}").shuffle(own)
        room = {True: cap // 6, False: cap}
        for file in own:
            test = "test" in file.path.lower()
            if room[test] > 0:
                room[test] -= len(file.text)
                kept.append(file)
    return kept


def _judge(pin: Pin, cache: Path, forbidden: duplicates.Hashes) -> list[Judged]:
    own = pin.name == sources.STANDARD_LIBRARY
    found = sources.standard_library() if own else sources.files(pin, cache)
    return [_judge_file(file, forbidden) for file in found]


def _judge_file(file: SourceFile, forbidden: duplicates.Hashes) -> Judged:
    reason = filters.reason_to_drop(file.path, file.text)
    if reason is not None:
        return Judged(file, reason, b"", duplicates.token_hashes(""))
    tokens = duplicates.token_hashes(file.text)
    reason = "benchmark" if duplicates.shares_run(tokens, forbidden) else None
    return Judged(file, reason, duplicates.digest(file.text), duplicates.signature(tokens))


def _write_shards(out: Path, role: str, files: Iterable[SourceFile], ending: str = "gz") -> None:
    for stale in out.glob(f"{role}-*.jsonl.?z"):
        stale.unlink()
    buffer, size, number = io.StringIO(), 0, 0
    for file in files:
        buffer.write(json.dumps([file.package, file.path, file.language, file.text], ensure_ascii=False) + "\n")
        size += len(file.text)
        if size >= _SHARD:
            _write_shard(out / f"{role}-{number:03d}.jsonl.{ending}", buffer.getvalue())
            buffer, size, number = io.StringIO(), 0, number + 1
    if size:
        _write_shard(out / f"{role}-{number:03d}.jsonl.{ending}", buffer.getvalue())


def _write_shard(path: Path, text: str) -> None:
    raw = text.encode("utf-8")
    path.write_bytes(lzma.compress(raw, preset=9) if path.suffix == ".xz" else gzip.compress(raw, 5, mtime=0))


def _statistics(kept: dict[str, list[SourceFile]], counts: Counter[str]) -> dict[str, object]:
    table: dict[str, dict[str, dict[str, int]]] = {}
    for role, files in kept.items():
        for file in files:
            row = table.setdefault(role, {}).setdefault(file.language, {"files": 0, "bytes": 0})
            row["files"] += 1
            row["bytes"] += len(file.text.encode("utf-8"))
    return {"kept": table, "files": dict(sorted(counts.items()))}
