"""A Store's chunks in, nearest neighbours out: a FAISS index beside the store, a cache that can be made again.

The file is written under another name and put in place in one step; the store keeps its checksum,
without which FAISS would load a damaged file and say nothing. A chunk that has gone stays in the
file until the next rebuild, but is never found again: chunk numbers are not used twice. Ignores
what is done with what is near.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.index import embedding
from retrieval.index.embedding import LATENT, Embedder, Kind
from retrieval.index.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "vectors.faiss"
FEWEST = 50  # chunks; fewer are not worth an index
BATCH = 256  # chunks embedded at a time
LARGE = 50_000  # chunks from which on some of LISTS lists are searched instead of everything
LISTS, PROBED = 100, 16  # FAISS wants 39 vectors a list to learn from
_STALE = 1.5  # times the living chunks: with more than that in it, or twice as many to learn from, it is made anew
KEY = "vectors"


class Neighbours:
    """Vectors of a store's chunks."""

    def __init__(self, embedder: Embedder, kind: Kind, index: Any, last: int, learnt: int) -> None:
        """index: FAISS's, of chunk numbers. last: the highest of them. learnt: how many chunks the embedder saw."""
        self.embedder, self.kind, self.last, self.learnt = embedder, kind, last, learnt
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def near(self, text: str, most: int) -> list[tuple[int, float]]:
        """Numbers of the chunks most like a text, with their cosine, best first."""
        if not len(self):
            return []
        scores, numbers = self._index.search(self.embedder.embed([text]), most)
        return [(int(n), float(s)) for n, s in zip(numbers[0], scores[0], strict=True) if n >= 0 and s > 0]

    def add(self, numbers: Sequence[int], texts: Sequence[str]) -> None:
        """Adds chunks."""
        import numpy as np

        if numbers:
            self._index.add_with_ids(self.embedder.embed(texts), np.array(numbers, np.int64))
            self.last = max(self.last, *numbers)

    def write(self, directory: Path, store: Store) -> None:
        """Puts the cache in place and its checksum into the store; the caller commits."""
        import faiss

        content = faiss.serialize_index(self._index).tobytes()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        passing = directory / f"{FILE}.{os.getpid()}"
        try:
            with passing.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            passing.replace(directory / FILE)
        finally:
            with contextlib.suppress(OSError):
                passing.unlink(missing_ok=True)
        head = f"{hashlib.sha256(content).hexdigest()} {self.last} {self.learnt} {self.kind.name}\n".encode()
        store.keep(KEY, head + self.embedder.to_bytes())


def read(directory: Path, store: Store, kind: Kind = LATENT) -> Neighbours | None:
    """The cache, or None when there is none, or it is not the one that the store knows, or of another kind."""
    import faiss
    import numpy as np

    kept = store.kept(KEY)
    if kept is None:
        return None
    head, _, learnt_from = kept.partition(b"\n")
    try:
        checksum, last, learnt, name = head.decode().split(" ", 3)
        content = (directory / FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != checksum or name != kind.name:
            return None
        index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
        return Neighbours(kind.load(learnt_from), kind, index, int(last), int(learnt))
    except (OSError, ValueError, RuntimeError):
        return None


def refreshing(directory: Path, store: Store, now: Neighbours | None, kind: Kind = LATENT) -> Iterator[Neighbours]:
    """Brings the cache up to the store, batch by batch; yields what there is after each, and writes at the end.

    Makes it anew when too much of it has gone or come. The caller commits.
    """
    living = store.chunks()
    if living < FEWEST:
        return
    if now is None or len(now) > _STALE * living or living > 2 * now.learnt:
        now = _begun(store, living, kind)
    elif store.last_chunk() <= now.last:
        return
    while batch := store.chunks_after(now.last, BATCH):
        now.add([number for number, _ in batch], [text for _, text in batch])
        yield now
    now.write(directory, store)
    yield now


def _begun(store: Store, living: int, kind: Kind) -> Neighbours:
    """An index with nothing in it, and an embedder that knows the repository."""
    import faiss

    faiss.omp_set_num_threads(1)
    sample = store.some_chunks(embedding.SAMPLE)
    embedder = kind.learn(sample)
    plain = "SQ8" if living < LARGE else f"IVF{LISTS},SQ8"
    index = faiss.index_factory(embedder.dimensions, f"IDMap2,{plain}", faiss.METRIC_INNER_PRODUCT)
    rows: NDArray[np.float32] = embedder.embed(sample)
    index.train(rows)
    if living >= LARGE:
        faiss.extract_index_ivf(index).nprobe = PROBED
    return Neighbours(embedder, kind, index, 0, living)
