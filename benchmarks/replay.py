"""Files of packages that no model learnt from are written again through the real `lacuna --stdio`.

    python -m benchmarks.replay [--json] [--n 300] [--seed 1] [--rows FILE] [--packages NAME...] [--pace 0]
    python -m benchmarks.replay --json --merge ROWS...

Key by key and line by line, jumping between two places, with the typos, the closers and the indentation of
`typist` and `editor`, in seven packages and six languages. The person takes only what is just what they were about
to write, four times out of five; the fifth is typed through. Server, daemon and index are the real ones, in folders of
their own. With pace 0 the next key comes as soon as the answer is there, so a person's hour takes minutes; with 1 it
comes in a person's time and cuts off what is late. --n: suggestions to see, spread evenly over the packages; --rows
keeps what was seen, for --merge and for `benchmarks.gate`. Needs the archives that `python -m training corpus` pins;
those not yet fetched are.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import gaps, held_out, lsp_client, moments
from benchmarks.editor import Change, Editor, Mark
from benchmarks.flaws import WINDOW, Shown, flaws
from benchmarks.held_out import Package
from benchmarks.latency import SERVER, ended, environment
from benchmarks.lsp_client import Client, Reply
from benchmarks.moments import Moment, Row, Through, Written
from benchmarks.sitting import WORTH, first_item, place
from benchmarks.typist import Typing
from benchmarks.workspace import Hole, Workspace
from retrieval import languages

TASTE = 0.8  # share of right suggestions that are taken
STRETCH = (2, 6)  # lines written before the next jump
UNHURRIED = {"debounce": 0, "deadline": 5000}  # for who waits: a busy machine changes when something comes, not what
PATIENCE = 10.0  # seconds for one answer
READY = 60.0  # seconds for the daemon and the index
AROUND = 120  # characters kept on either side of a suggestion with a flaw
TYPED = frozenset({"char", "enter", "overtype", "tab", "skip"})  # keys that write on; others end what is typed through


@dataclass
class Followed:
    """A suggestion on the screen that may be typed through. text: all of it; before, after: the file around it then.

    spared: it is right, and typed through all the same.
    """

    text: str
    before: str
    after: str
    requests: list[int]
    spared: bool


@dataclass
class GapReplay:
    """One gap while it is written."""

    hole: Hole
    typing: Typing
    keys_alone: int
    keys: int = 0
    by_taking: int = 0


@dataclass
class Replay:
    """One package's files in front of one server. count: suggestions to see; fresh: those seen.

    until: when to stop in any case, in seconds of time.perf_counter().

    timings: what the server said of each request, by its id. through: ids of the requests that showed one suggestion,
    for each that was typed to its end.
    """

    client: Client
    package: str
    count: int
    rng: random.Random
    pace: float
    rows: list[Row] = field(default_factory=list)
    through: list[list[int]] = field(default_factory=list)
    timings: dict[int, dict[str, Any]] = field(default_factory=dict)
    editors: dict[Path, Editor] = field(default_factory=dict)
    followed: Followed | None = None
    state: str = "starting"
    fresh: int = 0
    until: float = float("inf")
    last: Reply | None = None

    @property
    def enough(self) -> bool:
        """Whether it is time to stop."""
        return self.fresh >= self.count or time.perf_counter() > self.until

    def open(self, path: Path, editor: Editor) -> None:
        """Shows a file to the server."""
        self.editors[path] = editor
        language = languages.of(path.name, editor.text())
        document = {"uri": path.as_uri(), "languageId": language.name, "version": editor.version, "text": editor.text()}
        self.client.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, path: Path, change: Change) -> None:
        """Tells the server of one."""
        identifier = {"uri": path.as_uri(), "version": self.editors[path].version}
        self.client.notify("textDocument/didChange", {"textDocument": identifier, "contentChanges": [change]})

    async def look(self, gap: GapReplay, key: str, pause: float) -> bool:
        """Asks at the cursor and waits for what is shown until the next key. True when it was taken."""
        path = gap.hole.path
        editor = self.editors[path]
        if self.last is not None:
            self.client.cancel(self.last)
        params = {
            "textDocument": {"uri": path.as_uri()}, "position": editor.position(), "context": {"triggerKind": 2},
        }  # fmt: skip
        reply = self.last = self.client.request("textDocument/inlineCompletion", params)
        await asyncio.wait({reply.done}, timeout=pause * self.pace if self.pace else PATIENCE)
        moment, item = self._moment(reply, gap, key)
        taken = moment.fresh and moment.right and moment.characters >= WORTH and self.rng.random() < TASTE
        self.rows.append(msgspec.structs.replace(moment, taken=taken))
        if taken and item is not None:
            self._take(gap, item)
        return taken

    def _moment(self, reply: Reply, gap: GapReplay, key: str) -> tuple[Moment, dict[str, Any] | None]:
        """What stands on the screen now, judged; and the item, if something does."""
        editor, typing = self.editors[gap.hole.path], gap.typing
        item = first_item(reply)
        moment = Moment(
            id=reply.id,
            package=self.package,
            language=languages.of(gap.hole.path.name, editor.text()).name,
            key=key,
            goes_on=bool(typing.rest_of_line.strip()),
        )
        shown = None if item is None else _shown(item, editor, typing)
        moment, is_rest = self._followed(
            moment, shown, key, _around(editor, editor.cursor.column, editor.cursor.column)
        )
        if shown is None:
            return moment, item
        moment = msgspec.structs.replace(
            moment, characters=len(shown.text), lines=shown.text.count("\n") + 1, right=shown.right
        )
        if is_rest:
            return moment, item
        self.fresh += 1
        wrong = flaws(shown, languages.of(gap.hole.path.name, editor.text()))
        moment = msgspec.structs.replace(
            moment,
            fresh=True,
            flaws=wrong,
            right=shown.right and "closer" not in wrong,
            first_right=typing.text[typing.done :].startswith(shown.text.split("\n")[0].rstrip("\r")),
            seen=_seen(shown) if wrong else moment.seen,
        )
        self.followed = Followed(shown.text, shown.before, shown.after, [reply.id], moment.right)
        return moment, item

    def _followed(self, moment: Moment, shown: Shown | None, key: str, here: tuple[str, str]) -> tuple[Moment, bool]:
        """The moment with what became of the suggestion before it, and whether this one is that one's rest."""
        followed, self.followed = self.followed, None
        if followed is None or key not in TYPED:
            return moment, False
        before, after = here
        typed = before[len(followed.before) :]
        if not before.startswith(followed.before) or not followed.text.startswith(typed):
            return moment, False
        rest = followed.text[len(typed) :]
        if _is_done(rest, followed.after, after):
            self.through.append(followed.requests)
            return moment, False
        self.followed = followed
        followed.requests.append(moment.id)
        text, beyond = ("", after) if shown is None else (shown.text, shown.after)
        if text.startswith(rest) or text + beyond == rest + followed.after:
            # the editor may have put closers in, or one on a line of its own
            followed.text, followed.before, followed.after = text, before, beyond
            return moment, True
        self.followed = None
        flicker = "changed" if text else "vanished"
        seen = (before[-AROUND:], f"{rest} → {text}", after[:AROUND])
        return msgspec.structs.replace(moment, flicker=flicker, seen=seen), False

    def _take(self, gap: GapReplay, item: dict[str, Any]) -> None:
        """The person takes what is shown."""
        path, done = gap.hole.path, gap.typing.done
        editor = self.editors[path]
        text = item["insertText"].replace("\r\n", "\n")
        self.change(path, gap.typing.accept(editor, *place(item, editor), text))
        if command := item.get("command"):
            params = {"command": command["command"], "arguments": command.get("arguments", [])}
            self.client.request("workspace/executeCommand", params)
        gap.by_taking += gap.typing.done - done
        gap.keys += 1
        self.followed = None

    def hear(self, method: str, params: Any) -> None:
        """Keeps what the server says of a request's time, and of itself."""
        if method == "lacuna/timing" and isinstance(params, dict):
            self.timings[params["id"]] = params
        elif method == "lacuna/status" and isinstance(params, dict):
            self.state = params["state"]

    def settled(self) -> list[Row]:
        """Everything that was seen, with what the server said of it."""
        rows = [_timed(row, self.timings.get(row.id)) if isinstance(row, Moment) else row for row in self.rows]
        return [*rows, *(Through(self._asked(through)) for through in self.through)]

    def _asked(self, requests: Sequence[int]) -> int:
        """How many requests to the model the answers to these took."""
        asked: dict[int, int] = {}
        for one in requests:
            timing = self.timings.get(one, {})
            if (number := timing.get("generation")) is not None:
                asked[number] = max(asked.get(number, 0), timing["asked"])
        return sum(asked.values())


async def write(replay: Replay, workspace: Workspace) -> None:
    """Writes gaps, two at a time, jumping between them, until enough suggestions were seen."""
    following = _gaps(replay, workspace)
    active = [gap for gap in (next(following, None), next(following, None)) if gap is not None]
    while active and not replay.enough:
        gap = active.pop(0)
        replay.editors[gap.hole.path].jump(gap.typing.place, gap.typing.pending)
        if not await replay.look(gap, "landing", 1.0):
            await _stretch(replay, gap, replay.rng.randint(*STRETCH))
        if not gap.typing.finished:
            active.append(gap)
        else:
            replay.rows.append(_written(replay, gap))
            active += [one for one in (next(following, None),) if one is not None]
    replay.rows += [_written(replay, gap) for gap in active]


async def _stretch(replay: Replay, gap: GapReplay, lines: int) -> None:
    editor = replay.editors[gap.hole.path]
    limit = gap.keys + 4 * len(gap.hole.text) + 50
    while lines > 0 and not replay.enough and (key := gap.typing.next_key(editor)) is not None:
        if gap.keys > limit:
            raise RuntimeError(f"the typist does not come to an end in {gap.hole.path.name}, {gap.hole.name}")
        change = gap.typing.press(key, editor)
        gap.keys += 1
        if change is not None:
            replay.change(gap.hole.path, change)
        kind: str = key.kind
        while await replay.look(gap, kind, key.pause):
            kind = "accepted"
        lines -= key.kind == "enter"


def _gaps(replay: Replay, workspace: Workspace) -> Iterator[GapReplay]:
    """The gaps to write; a file is opened when it is first needed."""
    marks: dict[int, Mark] = {}
    for number, hole in enumerate(workspace.holes):
        if hole.path not in replay.editors:
            own = [one for one in workspace.holes if one.path == hole.path]
            editor, places = gaps.opened(hole.path, own)
            marks.update({id(one): at for one, at in zip(own, places, strict=True)})
            replay.open(hole.path, editor)
        alone = _keys_alone(copy.deepcopy(replay.editors[hole.path]), hole, marks[id(hole)], number)
        yield GapReplay(hole, Typing(hole.text, marks[id(hole)], random.Random(number)), alone)


def _keys_alone(editor: Editor, hole: Hole, mark: Mark, seed: int) -> int:
    """How many keys write a gap without suggestions."""
    typing = Typing(hole.text, Mark(mark.row, mark.column), random.Random(seed))
    editor.jump(typing.place, "")
    for keys in range(4 * len(hole.text) + 50):
        key = typing.next_key(editor)
        if key is None:
            return keys
        typing.press(key, editor)
    raise RuntimeError(f"the typist does not come to an end in {hole.path.name}, {hole.name}")


def _written(replay: Replay, gap: GapReplay) -> Written:
    return Written(
        package=replay.package,
        language=languages.of(gap.hole.path.name, replay.editors[gap.hole.path].text()).name,
        characters=gap.typing.done,
        by_taking=gap.by_taking,
        keys=gap.keys,
        keys_alone=gap.keys_alone,
        finished=gap.typing.finished,
    )


def _around(editor: Editor, start: int, end: int) -> tuple[str, str]:
    """The file before and after two columns of the cursor's line, its endings as they are."""
    row = editor.cursor.row
    before = editor.ending.join([*editor.lines[:row], editor.line[:start]])
    return before, editor.ending.join([editor.line[end:], *editor.lines[row + 1 :]])


def _shown(item: dict[str, Any], editor: Editor, typing: Typing) -> Shown:
    """An item where it is shown. What it repeats left of the cursor counts as not part of it."""
    row, start, end = place(item, editor)
    text = item["insertText"]
    length = typing.would_accept(editor, row, start, end, text.replace("\r\n", "\n"))
    own = editor.line[start : editor.cursor.column]
    if text.startswith(own):
        start, text = editor.cursor.column, text[len(own) :]
    before, after = _around(editor, start, end)
    return Shown(
        before=before,
        covered=editor.line[start:end],
        after=after,
        text=text,
        right=length is not None,
        unit=editor.unit,
        ending=editor.ending,
        finished=_finished(editor, typing),
    )


def _finished(editor: Editor, typing: Typing) -> str | None:
    """The code around once the gap is written; None while something wrong stands there."""
    if typing.wrong or typing.excess or typing.queue:
        return None
    before, after = _around(editor, editor.cursor.column, editor.cursor.column)
    rest, inserted = (text.replace("\n", editor.ending) for text in (typing.text[typing.done :], editor.pending))
    return before[-WINDOW:] + rest + after[len(inserted) :][:WINDOW]


def _is_done(rest: str, before: str, after: str) -> bool:
    """Whether the end of a suggestion is reached, as far as it can be seen: its closers may be the editor's by now.

    rest: what is left of it; before, after: what stood right of it, and does now.
    """
    if not rest.strip(" \t\r\n)]}") and "".join(after.split()).startswith("".join(rest.split())):
        return True
    return rest + before == after


def _seen(shown: Shown) -> tuple[str, str, str]:
    return shown.before[-AROUND:], shown.text, (shown.covered + shown.after)[:AROUND]


def _timed(moment: Moment, timing: dict[str, Any] | None) -> Moment:
    if timing is None:
        return moment
    return msgspec.structs.replace(
        moment, source=timing["source"], reason=timing["reason"], features=timing.get("signs") or {}
    )


async def measure(packages: Sequence[Package], arguments: argparse.Namespace) -> list[Row]:
    """One sitting for each package, one after the other, all with one daemon. Interrupted, it leaves nothing behind."""
    session = asyncio.current_task()
    assert session is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, session.cancel)
    rows: list[Row] = []
    each = -(-arguments.n // len(packages))
    with tempfile.TemporaryDirectory(prefix="lacuna-replay-") as name, ended(Path(name) / "run") as runtime:
        for package in packages:
            began = time.perf_counter()
            found = await _sit(package, each, Path(name), environment(Path(name), runtime), arguments)
            rows += found
            seen = sum(isinstance(row, Moment) and row.fresh for row in found)
            keys = sum(isinstance(row, Moment) for row in found)
            took = time.perf_counter() - began
            print(f"{package.name}: {seen} suggestions in {keys} places, {took:.0f} s", file=sys.stderr)
    return rows


async def _sit(
    package: Package, count: int, folder: Path, own: dict[str, str], arguments: argparse.Namespace
) -> list[Row]:
    workspace = gaps.taken(package, folder / "workspaces", count, arguments.seed)
    options = {"timings": True, "status": True, **({} if arguments.pace else UNHURRIED), **arguments.options}
    heard: list[tuple[str, Any]] = []
    client = await lsp_client.start(
        shlex.split(arguments.server),
        environment=own,
        root=workspace.root,
        options=options,
        errors=folder / "stderr",
        notified=lambda method, params: heard.append((method, params)),
    )
    replay = Replay(client, package.name, count, random.Random(f"{arguments.seed} {package.name}"), arguments.pace)
    client.notified = replay.hear
    for method, params in heard:
        replay.hear(method, params)
    try:
        await _ready(replay, workspace)
        if arguments.minutes is not None:
            replay.until = time.perf_counter() + 60 * arguments.minutes / len(arguments.packages)
        await write(replay, workspace)
    finally:
        await lsp_client.stop(client)
        sys.stderr.write((folder / "stderr").read_text("utf-8", "replace"))
    return replay.settled()


async def _ready(replay: Replay, workspace: Workspace) -> None:
    """Returns when the daemon runs and the index is built. Raises TimeoutError."""
    hole = workspace.holes[0]
    replay.open(hole.path, gaps.opened(hole.path, [])[0])
    params = {"textDocument": {"uri": hole.path.as_uri()}, "position": {"line": 0, "character": 0}}
    await replay.client.ask("textDocument/inlineCompletion", {**params, "context": {"triggerKind": 1}}, READY)
    async with asyncio.timeout(READY):
        calm = 0
        while calm < 5:
            await asyncio.sleep(0.1)
            calm = calm + 1 if replay.state == "ready" else 0
    replay.client.notify("textDocument/didClose", {"textDocument": {"uri": hole.path.as_uri()}})
    del replay.editors[hole.path]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--n", type=int, default=300, help="suggestions to see, over all packages")
    parser.add_argument("--minutes", type=float, help="stop after so many, the start of each server not counted")
    parser.add_argument("--seed", type=int, default=1, help="another seed writes other gaps")
    parser.add_argument("--packages", nargs="+", default=held_out.JUDGED, help="held-out packages to write in")
    parser.add_argument("--pace", type=float, default=0.0, help="share of a person's time; 0 waits for each answer")
    parser.add_argument("--options", type=json.loads, default={}, help="settings for the server, as JSON")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="write what was seen, a line of JSON each")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="report on what was seen in earlier runs")
    parser.add_argument("--cache", type=Path, default=held_out.CACHE, help="folder of the fetched archives")
    parser.add_argument("--server", default=SERVER, help="the server's command line")
    arguments = parser.parse_args(argv)
    try:
        if arguments.merge:
            rows = moments.read(arguments.merge)
        else:
            rows = asyncio.run(measure(held_out.packages(arguments.packages, arguments.cache), arguments))
        if arguments.rows:
            arguments.rows.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    except (OSError, RuntimeError, TimeoutError, ValueError) as error:
        print(f"replay: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("replay: interrupted", file=sys.stderr)
        return 130
    found = moments.report(rows)
    print(json.dumps(found, indent=2) if arguments.json else moments.table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
