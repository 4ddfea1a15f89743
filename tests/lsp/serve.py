"""The real language server on stdio with a scripted service behind it. `python serve.py SCRIPT LOG`.

SCRIPT is JSON: {"answers": [{"before": "return ", "text": "x + y", "first": 0.0, "each": 0.0, "error": null}],
"connect": null, "snippets": [], "cache": null}. The first answer whose `before` ends the text left of the cursor is
streamed, a piece of a word or a mark at a time, `first` and `each` in seconds; one without a fitting answer ends at
once. `cache` has real indexing processes keep their indexes there. `others`
are what is said when several texts are wanted, `doubts` pieces that the model hardly means; `error` raises it as the
client would; `connect` fails every attempt to connect with these words. LOG receives each request and each
cancellation as a line of JSON. Ignores what a model would know.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import msgspec

from lsp_server import server
from lsp_server.completion import syntax_check
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from lsp_server.related.context import Retrieved
from lsp_server.related.indexing import Indexing
from model_runtime.errors import Overloaded, Refused, Unreachable
from model_runtime.prompt import Snippet
from model_runtime.protocol import Chunk, Done, InfillRequest, Learnt, Lesson, Reason, Usage, leaves_open

PIECES = re.compile(r"\w{1,4}|\s+|.", re.DOTALL)
ERRORS = {"overloaded": Overloaded, "refused": Refused, "unreachable": Unreachable}


class Scripted:
    """A service that says what the script says."""

    def __init__(self, script: dict[str, Any], log: Path) -> None:
        self.script, self.log = script, log.open("a", encoding="utf-8")

    def note(self, what: str, **more: object) -> None:
        self.log.write(json.dumps({"what": what, **more}) + "\n")
        self.log.flush()

    async def infill(self, request: InfillRequest) -> AsyncIterator[Chunk | Done]:
        self.note("infill", **msgspec.to_builtins(request))
        before = request.prefix + request.typed
        found = next((one for one in self.script["answers"] if before.endswith(one["before"])), {})
        try:
            await asyncio.sleep(found.get("first", 0.0))
            if found.get("error"):
                raise ERRORS[found["error"]](f"scripted: {found['error']}")
            said, finish = 0, "end"
            text, finish = shortened(found.get("text", ""), request)
            for piece in PIECES.findall(text) if request.max_tokens else ():
                await asyncio.sleep(found.get("each", 0.0))
                yield Chunk(piece, -9.0 if piece in found.get("doubts", ()) else -0.1)
                said += 1
            others = found.get("others", ())[: request.n - 1]
            for index, other in enumerate(others, start=1):
                await asyncio.sleep(found.get("each", 0.0))
                yield Chunk(other, -0.1, index)
            ends: tuple[Reason, ...] = ("stop",) * len(others)
            usage = Usage(prompt_tokens=len(before), prefilled=1, reused=len(before) - 1, generated=said)
            yield Done(finish, usage, ends)
        except (asyncio.CancelledError, GeneratorExit):
            self.note("cancelled", before=before)
            raise

    async def learn(self, lesson: Lesson) -> Learnt:
        self.note("learn", **msgspec.to_builtins(lesson))
        return Learnt(sum(map(len, lesson.texts.values())))

    async def count(self, texts: Sequence[str]) -> tuple[int, ...]:
        return tuple(map(len, texts))

    async def close(self) -> None:
        self.note("closed")


class Snippets(Indexing):
    """The script's snippets in place of an index."""

    def __init__(self, script: dict[str, Any], log: Path) -> None:
        super().__init__(Path("/nonexistent"))
        self.script, self.log = script, log

    async def find(self, snapshot: Snapshot, frame: Frame) -> Retrieved:
        await asyncio.sleep(self.script.get("lookup", 0.0))
        return Retrieved(tuple(Snippet(path, text) for path, text in self.script["snippets"]))

    async def start(self, root: str) -> None:
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"what": "start", "watch": self.watch}) + "\n")

    def rested(self, snapshot: Snapshot) -> None:
        pass


def shortened(text: str, request: InfillRequest) -> tuple[str, Reason]:
    """As far as `max_lines` goes, or `open_lines`."""
    most = request.max_lines
    if most is not None and request.open_lines and leaves_open("\n".join(text.split("\n")[:most])):
        most = request.open_lines
    if most is None or text.count("\n") < most:
        return text, "end"
    return "\n".join(text.split("\n")[:most]), "stop"


def main() -> int:
    syntax_check.BUSY = 60.0  # a busy machine decides nothing here
    script, log = json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2])

    async def connect() -> Scripted:
        await asyncio.sleep(script.get("connecting", 0.0))
        if script.get("connect"):
            raise Unreachable(script["connect"])
        return Scripted(script, log)

    folder = Path(script["journal"]) if script.get("journal") else None
    indexing: Indexing | None = Snippets(script, log) if script.get("snippets") else None
    if script.get("cache"):  # the real thing
        indexing = Indexing(Path(script["cache"]))
    return server.run(connect, indexing, journal=folder, version="0.test")


if __name__ == "__main__":
    sys.exit(main())
