"""Functions to be written in, the prompts of each key out: as our server asks, and as a plug-in of llama.cpp does.

`python -m benchmarks.throughput --replay` times them. What is written is the same for both; nothing is accepted, and
nothing waits for the typist. Ignores what a prompt is worth.

Ours is the language server's own window and layout. Theirs is that of llama.vim: 256 lines before and 64 after the
cursor, the current line's text after the middle marker, so that within a line a key costs its own tokens; cut to a
batch of 1,024 tokens as its server does, three parts before to one after.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.editor import Editor
from benchmarks.typist import Typing
from benchmarks.workspace import Workspace, opened
from lsp_server.editor.document import Place
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Anchor, frame
from model_runtime.manifest import Manifest
from model_runtime.prompt import Infill, lay_out
from model_runtime.protocol import RESERVE
from model_runtime.tokenizer import Tokenizer

LINES_BEFORE, LINES_AFTER = 256, 64
BATCH = 1024  # tokens of a prompt at most, as llama.vim starts its server
STRETCH = 4  # lines written in one function before the next


@dataclass(frozen=True)
class Asked:
    """What one key asks. ours, theirs: token ids."""

    ours: tuple[int, ...]
    theirs: tuple[int, ...]


def prompts(
    workspace: Workspace, tokenizer: Tokenizer, manifest: Manifest, keys: int, seed: int = 1
) -> Iterator[Asked]:
    """One pair of prompts for each key, two functions written in turns."""
    rng = random.Random(seed)
    holes = list(workspace.holes)
    active: list[tuple[Path, Editor, Typing]] = []
    anchors: dict[Path, Anchor] = {}
    while keys > 0:
        while len(active) < 2:
            hole = holes.pop()
            editor, (place,) = opened(hole.path, [hole])
            active.append((hole.path, editor, Typing(hole.text, place, rng)))
        path, editor, typing = active.pop(0)
        editor.jump(typing.place, typing.pending)
        lines = STRETCH
        while lines > 0 and keys > 0 and (key := typing.next_key(editor)) is not None:
            typing.press(key, editor)
            lines -= key.kind == "enter"
            keys -= 1
            snapshot = seen(path.relative_to(workspace.root), editor)
            one = frame(snapshot, anchors.get(path))
            anchors[path] = one.anchor
            infill = Infill(one.anchor.path, one.prefix, one.anchor.suffix, one.typed)
            ours = lay_out(infill, tokenizer, manifest.fim, manifest.shape.context_length - RESERVE).tokens
            yield Asked(ours, _theirs(editor, tokenizer, manifest))
        if not typing.finished:
            active.append((path, editor, typing))


def seen(path: Path, editor: Editor) -> Snapshot:
    """What the language server would know of an editor's file. path: in its workspace."""
    lines = (*(line + "\n" for line in editor.lines[:-1]), editor.lines[-1])
    cursor = Place(editor.cursor.row, editor.cursor.column)
    return Snapshot(path.as_posix(), None, path.as_posix(), "python", editor.version, lines, cursor)


def _theirs(editor: Editor, tokenizer: Tokenizer, manifest: Manifest) -> tuple[int, ...]:
    """Prefix, suffix, middle. The model knows no such order, but that of a snippet from elsewhere and then a gap.

    So its markers stand before each part as they would there, and the text before the line as that snippet.
    """
    row, column = editor.cursor.row, editor.cursor.column
    before = "".join(line + "\n" for line in editor.lines[max(0, row - LINES_BEFORE) : row])
    after = "\n".join([editor.line[column:], *editor.lines[row + 1 : row + 1 + LINES_AFTER]]) + "\n"
    middle = tokenizer.encode(editor.line[:column])
    prefix = tokenizer.encode(before)[-3 * BATCH // 4 :]
    suffix = tokenizer.encode(after)[: max(0, BATCH // 4 - 2 - len(middle))]
    fim = manifest.fim
    assert fim.context and fim.suffix and fim.prefix
    first, second, third = (tokenizer.special(name) for name in (fim.context, fim.suffix, fim.prefix))
    return (first, *prefix, second, *suffix, third, *middle)
