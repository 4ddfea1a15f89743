"""What a repository is worth to the model: ends of its lines, hidden, their file not in the index.

    python -m benchmarks.repository --root DIR... --n 200 --json

Every arm writes the rest of the same lines, from the window that the language server would show: the model with
its file alone; with snippets that retrieval finds in the other files; with n-grams mixed in, of the other files and
of what is left of this one; with both; with the one definition handed over that the line needs (oracle, where it
needs one); and that memory without a model. Exact match and edit similarity of the rest of the line, written
greedily by the engine that serves, SPARE tokens longer than the true rest at most; how likely the true rest was, in
nats; gains over the model alone, and in exact match over the memory alone, paired, with 95 % intervals; milliseconds.
What stands below the line stays. The vectors that find similar code were learnt with the hidden file there.

`--shard 1/4` does a quarter of the files, in an order by chance, and `--seconds` ends a run after so long;
`--merge FILE...` reports what several runs with --json have printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from benchmarks import gains, hidden_lines
from benchmarks.gains import ALONE, ARMS, BOTH, MEMORY, MODEL, ORACLE, RETRIEVAL, Record, Try
from benchmarks.hidden_lines import HiddenLine
from benchmarks.infill import similarity
from lsp_server.editor import window
from lsp_server.editor.document import Place, split
from lsp_server.editor.session import Snapshot
from lsp_server.related.context import BUDGET, Contexts
from lsp_server.related.indexing import query
from model_runtime import manifest
from model_runtime.engine.engine import Engine
from model_runtime.engine.ngrams import LONGEST, Continuation, NGrams, mix
from model_runtime.engine.sequence import Cancel, Generation, Token
from model_runtime.engine.token_healing import Spellings
from model_runtime.errors import LacunaRuntimeError
from model_runtime.opening import open_engine
from model_runtime.prompt import Infill, Snippet, lay_out
from model_runtime.service.ngram_store import TOKENS
from retrieval.errors import RetrievalError
from retrieval.index import index, masked_texts
from retrieval.index.index import Index
from retrieval.search import search

MOST, SPARE = 48, 6  # tokens of the rest of a line


@dataclass(frozen=True)
class Asked:
    """n: gaps of a root; crossing: the share of them that needs another file; shard: (k, of), from 1: every so manyth
    file; arms: the model alone is always among them.
    """

    n: int
    crossing: float
    seed: int
    shard: tuple[int, int]
    arms: tuple[str, ...]


def records(root: Path, asked: Asked, engine: Engine) -> Iterator[Record]:
    """Gaps of a root, filled. Raises RetrievalError, ModelError."""
    streams = {path: engine.tokenizer.encode_once(text) for path, text in masked_texts.texts(root)}
    with tempfile.TemporaryDirectory() as folder:
        made = index.with_vectors(index.opened(root, Path(folder)), Path(folder))
        gaps = hidden_lines.draw(made, asked.n, random.Random(asked.seed), asked.crossing)
        by_file = [(path, list(group)) for path, group in groupby(gaps, key=lambda gap: gap.path)]
        random.Random(asked.seed).shuffle(by_file)
        for path, group in by_file[asked.shard[0] - 1 :: asked.shard[1]]:
            known = None
            if {MEMORY, BOTH, ALONE} & set(asked.arms):
                own = [engine.tokenizer.encode_once(text) for text in _left(group)]
                known = NGrams([*own, *(tokens for one, tokens in streams.items() if one != path)], TOKENS)
            with _without(made, path):
                yield from (_record(root, gap, made, known, engine, asked.arms) for gap in group)


def _left(group: Sequence[HiddenLine]) -> list[str]:
    """What is left of a file whose gaps these are, in pieces: the lines that are being written are not there yet."""
    hidden = {gap.line for gap in group}
    pieces: list[list[str]] = [[]]
    for number, line in enumerate((group[0].before + group[0].rest + group[0].after).split("\n")):
        if number in hidden:
            pieces.append([])
        else:
            pieces[-1].append(line + "\n")
    return ["".join(piece) for piece in pieces if piece]


@contextlib.contextmanager
def _without(made: Index, path: str) -> Iterator[None]:
    """The index forgets a file for a while."""
    with contextlib.suppress(_Back), made.store.writing():
        made.store.remove(path)
        yield
        raise _Back


class _Back(Exception):
    """Rolls a transaction back."""


def _record(
    root: Path, gap: HiddenLine, made: Index, known: NGrams | None, engine: Engine, arms: Collection[str]
) -> Record:
    cursor = Place(gap.line, len(gap.before) - gap.before.rfind("\n") - 1)
    lines = tuple(split(gap.before + gap.after))
    here = Snapshot((root / gap.path).as_uri(), str(root), gap.path, "", 0, lines, cursor)
    frame = window.frame(here, None)
    own = Contexts(None).known(here, frame)
    assert own is not None
    began = time.perf_counter()
    packed = search.pack(search.rank(query(here, frame), made), engine.tokenizer.count, BUDGET)
    search_ms = 1e3 * (time.perf_counter() - began)
    found = tuple(Snippet(one.path, one.text) for one in packed)
    needed = () if gap.oracle is None else (Snippet(*gap.oracle),)
    given = {MODEL: ((), None), MEMORY: ((), known), RETRIEVAL: (found, None), BOTH: (found, known)}
    if needed:
        given[ORACLE] = (needed, None)
    tries = {}
    for arm, (context, memory_) in given.items():
        if arm in arms:
            infill = Infill(gap.path, frame.before, frame.anchor.suffix, context=(*context, *own.snippets))
            prompt = lay_out(infill, engine.tokenizer, engine.manifest.fim, engine.context_length - MOST).tokens
            tries[arm] = _filled(engine, prompt, gap.rest, memory_)
    if known is not None and ALONE in arms:
        tries[ALONE] = _recalled(engine, known, gap)
    return Record(root.name, gap.path, gap.line, gap.kind, gap.oracle is not None, search_ms, tries)


def _filled(engine: Engine, prompt: tuple[int, ...], rest: str, known: NGrams | None) -> Try:
    began = time.perf_counter()
    most = min(MOST, engine.tokenizer.count(rest) + SPARE)
    asked = Generation(prompt, max_tokens=most, max_lines=1, ngrams=known, heal=True)
    text = "".join(one.text for one in engine.generate(asked, Cancel()) if isinstance(one, Token))
    return _try(text, rest, began, _nats(engine, prompt, rest, known))


def _try(text: str, rest: str, began: float, nats: float | None) -> Try:
    ms = 1e3 * (time.perf_counter() - began)
    text = text.split("\n")[0].rstrip()
    return Try(text == rest, similarity(rest, text), nats, ms)


def _nats(engine: Engine, prompt: tuple[int, ...], rest: str, known: NGrams | None) -> float:
    middle = tuple(engine.tokenizer.encode_once(rest)[:MOST])
    total, before = 0.0, None
    for at, scores in enumerate(engine.score(prompt, middle)):
        if known is not None:
            before = known.after((*prompt, *middle[:at])[-LONGEST:], before)
            scores = mix(scores, before, engine.manifest.mixture_weights)
        total += scores[middle[at]]
    return total


def _recalled(engine: Engine, known: NGrams, gap: HiddenLine) -> Try:
    """What the memory alone writes: what went on most often behind the longest context that it knows, words healed."""
    began = time.perf_counter()
    said, cut = Spellings(engine.tokenizer.spelled).healed(tuple(engine.tokenizer.encode_once(gap.before)))
    forced, written = cut, list[int]()
    before: Continuation | None = None
    while len(written) < MOST:
        token, before = _commonest(engine, known, [*said[-LONGEST:], *written][-LONGEST:], forced, before)
        spelled = b"" if token is None else engine.tokenizer.token_bytes(token)
        if token is None or b"\n" in spelled:
            break
        written.append(token)
        forced = forced[len(spelled) :]
    text = b"".join(map(engine.tokenizer.token_bytes, written)).removeprefix(cut)
    return _try(text.decode(errors="replace"), gap.rest, began, None)


def _commonest(
    engine: Engine, known: NGrams, context: Sequence[int], forced: bytes, before: Continuation | None
) -> tuple[int | None, Continuation | None]:
    """The commonest token behind the longest end of the context that any goes on as it must; and what was found there.

    forced: the beginning of what is to be written.
    """
    found = known.after(context, before)
    while found is not None:
        for at in (-found.shares).argsort(kind="stable"):
            spelled = engine.tokenizer.token_bytes(int(found.tokens[at]))
            if not forced or (spelled and (spelled.startswith(forced) or forced.startswith(spelled))):
                return int(found.tokens[at]), found
        found = known.after(context[len(context) - found.length + 1 :]) if found.length > 1 else None
    return None, None


def _measured(options: argparse.Namespace) -> list[Record]:
    k, _, of = options.shard.partition("/")
    asked = Asked(
        options.n, options.crossing, options.seed, (int(k), int(of)), tuple({MODEL: None} | dict.fromkeys(options.arms))
    )
    found: list[Record] = []
    until = time.monotonic() + options.seconds / len(options.root)
    with (
        tempfile.TemporaryDirectory() as cache,
        contextlib.closing(open_engine(options.model, cache=Path(cache), threads=options.threads)) as engine,
    ):
        for root in options.root:
            for one in records(root.absolute(), asked, engine):
                found.append(one)
                if time.monotonic() > until:
                    break
            until += options.seconds / len(options.root)
    return found


def _merged(files: Sequence[Path]) -> list[Record]:
    rows = [row for file in files for row in json.loads(file.read_text("utf-8"))["lines"]]
    return [Record(**{**row, "tries": {arm: Try(**one) for arm, one in row["tries"].items()}}) for row in rows]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--root", type=Path, nargs="+", help="repositories that no model learnt from")
    what.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="what runs with --json have printed")
    parser.add_argument("--n", type=int, default=200, help="lines of each root (default: 200)")
    parser.add_argument("--crossing", type=float, default=0.5, help="share of them that needs another file")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="only the K-th of N parts of each root's files")
    parser.add_argument("--model", type=Path, default=manifest.embedded(), help="model directory (default: embedded)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="besides the model (default: all)")
    parser.add_argument("--threads", type=int, help="of the network (default: chosen by the machine)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which to report what there is")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the report and every line's record as JSON")
    asked = parser.parse_args()
    try:
        found = _measured(asked) if asked.merge is None else _merged(asked.merge)
    except (LacunaRuntimeError, RetrievalError, OSError, ValueError, KeyError, TypeError) as error:
        print(f"benchmarks.repository: {error}", file=sys.stderr)
        return 1
    rows = gains.report(found)
    if asked.json:
        shown = {part: {arm: asdict(row) for arm, row in arms.items()} for part, arms in rows.items()}
        print(json.dumps({"report": shown, "lines": [asdict(one) for one in found]}))
        return 0
    gains.show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
