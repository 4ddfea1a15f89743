"""What the editor told is what a snapshot shows, and a snapshot does not change."""

from __future__ import annotations

import pytest

from lsp_server.editor.document import Place, Position
from lsp_server.editor.session import Edit, Session, local_path


def opened(text: str = "a\n", uri: str = "file:///project/a.py") -> Session:
    session = Session()
    session.add_folder("file:///project")
    session.open(uri, "python", 1, text)
    return session


def test_a_snapshot_does_not_change_with_the_document() -> None:
    session = opened("one\n")
    before = session.snapshot("file:///project/a.py", Position(0, 3))
    session.change(
        "file:///project/a.py",
        2,
        [Edit("!", Position(0, 3), Position(0, 3)), Edit("<", Position(0, 0), Position(0, 0))],
    )
    after = session.snapshot("file:///project/a.py", Position(0, 99))
    assert before is not None
    assert after is not None
    assert (before.lines, before.version, before.cursor) == (("one\n", ""), 1, Place(0, 3))
    assert (after.lines, after.version, after.cursor) == (("<one!\n", ""), 2, Place(0, 5))


def test_there_is_no_snapshot_of_what_is_not_open() -> None:
    session = opened()
    assert session.snapshot("file:///project/b.py", Position(0, 0)) is None
    session.close("file:///project/a.py")
    assert session.snapshot("file:///project/a.py", Position(0, 0)) is None
    assert session.change("file:///project/a.py", 2, [Edit("x")]) == []


def test_after_a_lost_edit_there_is_no_snapshot_until_the_whole_text_came() -> None:
    session = opened()
    session.distrust("file:///project/a.py")
    assert session.snapshot("file:///project/a.py", Position(0, 0)) is None
    session.change("file:///project/a.py", 3, [Edit("new")])
    found = session.snapshot("file:///project/a.py", Position(0, 0))
    assert found is not None
    assert found.lines == ("new",)


@pytest.mark.parametrize(
    ("uri", "root", "path"),
    [
        ("file:///project/a/b.py", "/project", "a/b.py"),
        ("file:///project/inner/c.py", "/project/inner", "c.py"),
        ("file:///elsewhere/d.py", None, "d.py"),
        ("file:///project/with%20blank/%C3%A9.py", "/project", "with blank/é.py"),
        ("untitled:Untitled-1", None, "Untitled-1"),
        ("vscode-notebook-cell:/project/n.ipynb#1", None, "n.ipynb"),
    ],
)
def test_a_path_is_relative_to_the_innermost_folder(uri: str, root: str | None, path: str) -> None:
    session = opened(uri=uri)
    session.add_folder("file:///project/inner")
    found = session.snapshot(uri, Position(0, 0))
    assert found is not None
    assert (found.root, found.path) == (root, path)


def test_a_drive_letter_is_the_same_however_it_is_written() -> None:
    assert local_path("file:///c%3A/code/a.py") == local_path("file:///C:/code/a.py") == "C:/code/a.py"
    assert local_path("file://server/share/a.py") == "//server/share/a.py"
    assert local_path("untitled:a") is None


def test_a_pause_is_no_rhythm() -> None:
    session = opened("")
    uri = "file:///project/a.py"
    for now in (10.0, 10.1, 10.2, 15.0):
        session.change(uri, 2, [Edit("x", Position(0, 0), Position(0, 0))], now=now)
    found = session.snapshot(uri, Position(0, 0), now=15.0)
    assert found is not None
    assert found.rhythm.interval == pytest.approx(0.1)
