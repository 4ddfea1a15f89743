"""The typist of `benchmarks.latency` writes what it is to write, and the report counts as it says."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import lsp_client, samples, sitting, workspace
from benchmarks.editor import Editor, Mark
from benchmarks.samples import Sample
from benchmarks.sitting import Sitting
from benchmarks.typist import Key, Typing
from benchmarks.workspace import Hole
from tests.editors import scripted_server

PACKAGE = workspace.package("httpx")


def written(editor: Editor, typing: Typing) -> list[Key]:
    """The keys that write the whole text."""
    editor.jump(typing.place, "")
    keys = []
    while (key := typing.next_key(editor)) is not None:
        typing.press(key, editor)
        keys.append(key)
        assert len(keys) < 4 * len(typing.text) + 50, "the typist does not come to an end"
    return keys


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_a_file_is_as_its_author_wrote_it_after_the_typist_wrote_its_functions(path: Path, tmp_path: Path) -> None:
    copy = shutil.copy(path, tmp_path / path.name)
    holes = workspace.dug(copy, workspace.holes_of(copy))
    left = copy.read_text("utf-8")
    assert all(hole.text not in left for hole in holes)
    editor, places = workspace.opened(copy, holes)
    for number, (hole, place) in enumerate(zip(holes, places, strict=True)):
        written(editor, Typing(hole.text, place, random.Random(number)))
    assert editor.text() == path.read_text("utf-8")


def test_the_same_seed_presses_the_same_keys(tmp_path: Path) -> None:
    copy = shutil.copy(PACKAGE / "_urls.py", tmp_path / "_urls.py")
    (hole,) = workspace.dug(copy, workspace.holes_of(copy)[:1])

    def keys(seed: int) -> list[Key]:
        editor, (place,) = workspace.opened(hole.path, [hole])
        return written(editor, Typing(hole.text, place, random.Random(seed)))

    assert keys(1) == keys(1) != keys(2)


def test_the_editor_closes_brackets_and_opens_blocks_and_the_typist_uses_it() -> None:
    text = '\n    call(\n        "a",\n    )\n    done = [1]'
    editor = Editor(["def f():"])
    keys = written(editor, Typing(text, Mark(0, 8), random.Random(3)))
    assert editor.text() == "def f():" + text
    kinds = [key.kind for key in keys]
    assert kinds.count("overtype") == 2  # the quote and the ]
    assert kinds.count("skip") == 1  # down to the ) that stands below already
    assert kinds.count("enter") == 3


def test_a_suggestion_is_taken_when_it_says_what_was_to_be_typed() -> None:
    editor = Editor(["x = call()"], pending=")")
    typing = Typing("one, two)\n", Mark(0, 9), random.Random(0), pending=")")
    editor.cursor = Mark(0, 9)
    assert typing.would_accept(editor, 0, 9, 10, "one, two)") == 9
    assert typing.would_accept(editor, 0, 9, 9, "one,") == 4
    assert typing.would_accept(editor, 0, 9, 9, "two") is None
    change = typing.accept(editor, 0, 9, 10, "one, two)")
    assert change["range"] == {"start": {"line": 0, "character": 9}, "end": {"line": 0, "character": 10}}
    assert (editor.text(), editor.pending, typing.done) == ("x = call(one, two)", "", 9)


def test_marks_move_with_the_lines_above_them() -> None:
    editor = Editor(["a", "b", "c"], marks=[Mark(0, 1), Mark(2, 1)])
    editor.jump(Mark(1, 1), "")
    editor.enter()
    assert [mark.row for mark in editor.marks] == [0, 3]


def test_positions_are_counted_in_utf_16() -> None:
    editor = Editor(["𝄞é x"])
    assert editor.position(0, 3) == {"line": 0, "character": 4}
    assert editor.column(0, 4) == 3


def sample(*, latency: float | None, left: float | None, shown: bool = True, cold: bool = False) -> Sample:
    timing = {"source": "model"}
    return Sample(1, 0.0, "char", cold, True, latency_ms=latency, left_ms=left, shown=shown, timing=timing)


def test_only_requests_left_alone_long_enough_are_judged() -> None:
    quick = sample(latency=40, left=90)
    assert not quick.judged
    assert not quick.due
    kept, late, cut = (
        sample(latency=90, left=400),
        sample(latency=300, left=400),
        sample(latency=500, left=200, shown=False),
    )
    assert cut.superseded
    assert cut.unknown
    assert not cut.due
    cut.probed = True
    report = samples.classes([quick, kept, late, cut])["warm"]
    assert (report["due"], report["due_within_150_ms"]) == (3, 0.3333)


def test_an_empty_answer_in_its_own_time_was_not_due() -> None:
    empty = sample(latency=700, left=2000, shown=False)
    assert not empty.unknown
    assert not empty.due


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [samples.percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert samples.percentile([], 0.5) is None


def test_what_was_not_measured_is_not_kept() -> None:
    assert not samples.Threshold("daemon, resident MB", None, 350.0).kept


def test_a_large_file_has_as_many_lines_as_asked_for(tmp_path: Path) -> None:
    made = workspace.enlarged(PACKAGE, tmp_path, 20_000, seed=1)
    (path,) = {hole.path for hole in made.holes}
    assert len(path.read_text("utf-8").split("\n")) >= 20_000
    assert len(made.holes) >= 20
    assert all(isinstance(hole, Hole) for hole in made.holes)


async def test_a_sitting_tells_the_server_every_key_and_takes_what_it_suggests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LANDING": (0.01, 0.02), "REACTION": (0.0, 0.01), "TASTE": 1.0}.items():
        monkeypatch.setattr(sitting, name, value)
    monkeypatch.setattr("benchmarks.typist.FASTEST", 0.01)
    monkeypatch.setattr("benchmarks.typist.SLOWEST", 0.02)
    made = workspace.copied(PACKAGE, tmp_path, seed=1)
    words = [(hole.text[at : at + 3], hole.text[at + 3 : at + 12]) for hole in made.holes[:4] for at in range(0, 60, 7)]
    answers = [{"before": before, "items": [{"insertText": text}]} for before, text in words]
    script, log = tmp_path / "script.json", tmp_path / "log"
    script.write_text(json.dumps({"encoding": "utf-16", "answers": answers}))
    client = await lsp_client.start(
        [sys.executable, scripted_server.__file__, str(script), str(log)],
        environment={},
        root=made.root,
        options={},
        errors=tmp_path / "stderr",
        notified=lambda method, params: None,
    )
    desk = Sitting(client, made.root, random.Random(1))
    try:
        await sitting.write(desk, made, 4.0)
        await client.ask("shutdown", None, 10.0)  # whatever was asked before is answered by now
        sitting.settle(desk)
    finally:
        await lsp_client.stop(client)
    assert desk.keys > 30
    assert desk.jumps > 1
    assert desk.accepted > 0
    assert all(sample.latency_ms is not None or sample.superseded for sample in desk.samples)
    assert any(sample.shown for sample in desk.samples)

    mirror = scripted_server.Server(script, tmp_path / "again")
    mirror.send = lambda message: None  # type: ignore[method-assign]
    for line in log.read_text().splitlines():
        message = json.loads(line)
        if message.get("method", "").startswith("textDocument/did"):
            getattr(mirror, "on_" + message["method"].replace("/", "_"))(message)
    assert {path.as_uri(): editor.text() for path, editor in desk.editors.items()} == mirror.documents
