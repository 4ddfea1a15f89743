"""The journal: off unless the user wants it, without code unless they want that too, and never too large."""

from __future__ import annotations

import json
import os
import stat
from datetime import date, timedelta
from pathlib import Path

import pytest

from lsp_server.feedback import journal
from lsp_server.feedback.journal import AnswerRecord, Journal, Outcome, Retention
from tests.lsp.scripted_editor import Editor

SECRET = "secret_sum"
ADD = "def add(a, b):\n    return \n"
SUM = {"before": "return ", "text": f"{SECRET}(a, b)\n"}
OUTCOME = Outcome("s-1", 1.5, "python", "accepted", 5, taken=5, evidence={"mean": -0.5})
RECORDS = [AnswerRecord(1.0, "go", "model", total=12.5, prefill=3.0), OUTCOME, Retention("s-1", 31.5, 30, 0.5)]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    one, two = Journal(tmp_path / "journal"), Journal(tmp_path / "journal")
    one.write(RECORDS[0])
    two.write(RECORDS[1])
    one.write(RECORDS[2])
    assert list(journal.read(tmp_path / "journal")) == RECORDS
    one.close()
    two.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    one = Journal(tmp_path / "journal")
    one.write(OUTCOME)
    one.close()
    (file,) = journal.files(one.folder)
    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_cannot_be_read_costs_itself_only(tmp_path: Path) -> None:
    wrong = b'{"type":"kept","suggestion":"s","at":1e300,"after":30,"share":0.5}\n'
    lines = (
        wrong + b'{"type":"outcome","sugg\n{"type":"later"}\n\xff\n\n' + journal.msgspec.json.encode(OUTCOME) + b"\n{"
    )
    (tmp_path / "2026-11-21.jsonl").write_bytes(lines)
    (tmp_path / "notes.txt").write_text("not of the journal")
    assert list(journal.read(tmp_path)) == [OUTCOME]
    assert list(journal.read(tmp_path / "none")) == []


def test_after_a_purge_it_begins_anew(tmp_path: Path) -> None:
    one = Journal(tmp_path / "journal")
    one.write(OUTCOME)
    (file,) = journal.files(one.folder)
    file.unlink()
    one.folder.rmdir()
    one.write(OUTCOME)
    one.close()
    assert list(journal.read(one.folder)) == [OUTCOME]


def test_only_days_asked_for_are_read(tmp_path: Path) -> None:
    for day in ("2026-11-20", "2026-11-21"):
        (tmp_path / f"{day}.jsonl").write_bytes(journal.msgspec.json.encode(OUTCOME))
    assert len(list(journal.read(tmp_path, date(2026, 11, 21)))) == 1


def test_the_oldest_days_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "DAYS", 3)
    monkeypatch.setattr(journal, "FOLDER_BYTES", 250)
    today = date.today()
    for back in range(1, 6):
        (tmp_path / f"{(today - timedelta(back)).isoformat()}.jsonl").write_bytes(b"x" * 100)
    (tmp_path / "mine.txt").write_text("not of the journal")
    one = Journal(tmp_path)
    one.write(OUTCOME)
    one.close()
    assert [path.stem for path in journal.files(tmp_path)] == [
        (today - timedelta(back)).isoformat() for back in (2, 1, 0)
    ]
    assert (tmp_path / "mine.txt").exists()


def test_a_full_day_keeps_outcomes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "DAY_BYTES", 300)
    one = Journal(tmp_path)
    for _ in range(20):
        one.write(RECORDS[0])
    one.write(OUTCOME)
    one.close()
    found = list(journal.read(tmp_path))
    assert len(found) < 10 and found[-1] == OUTCOME


def typed(editor: Editor, setting: object) -> None:
    """A session in which a suggestion is shown and taken by an editor that runs no command."""
    editor.start({"journal": setting} if setting is not None else None)
    editor.open(ADD)
    ghost = editor.ghost(1, 11)
    assert ghost is not None and SECRET in ghost
    editor.change(1, 11, ghost)
    assert editor.ghost(1, 11 + len(ghost)) is None
    editor.call("shutdown", None)


@pytest.mark.parametrize("setting", [None, "off"])
def test_nothing_is_kept_unless_the_user_wants_it(tmp_path: Path, setting: object) -> None:
    with Editor(tmp_path, SUM, journal=str(tmp_path / "journal")) as editor:
        typed(editor, setting)
    assert not (tmp_path / "journal").exists()


def test_what_became_of_a_suggestion_is_kept_without_its_text(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM, journal=str(tmp_path / "journal")) as editor:
        typed(editor, "on")
        editor.until(lambda: len(list(journal.read(tmp_path / "journal"))) == 3)
    kept = list(journal.read(tmp_path / "journal"))
    found = [one for one in kept if isinstance(one, Outcome)]
    answers = [one for one in kept if isinstance(one, AnswerRecord)]
    assert [(one.fate, one.characters, one.taken, one.text) for one in found] == [("accepted", 16, 16, None)]
    assert [(one.language, one.reason is None) for one in answers] == [("python", True), ("python", False)]
    assert all(one.total > 0 for one in answers)
    (file,) = journal.files(tmp_path / "journal")
    assert SECRET not in file.read_text("utf-8")
    assert {json.loads(line)["type"] for line in file.read_text("utf-8").splitlines()} == {"answer", "outcome"}


def test_the_text_is_kept_where_the_user_asks_for_it(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM, journal=str(tmp_path / "journal")) as editor:
        typed(editor, "code")
        editor.until(lambda: any(isinstance(one, Outcome) for one in journal.read(tmp_path / "journal")))
    assert [one.text for one in journal.read(tmp_path / "journal") if isinstance(one, Outcome)] == [f"{SECRET}(a, b)"]


def test_a_journal_that_cannot_be_written_is_told_once_and_suggestions_go_on(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the folder should be")
    with Editor(tmp_path, SUM, journal=str(tmp_path / "journal")) as editor:
        typed(editor, "on")
        told = editor.told("window/showMessage")
        assert "cannot keep its journal" in told["message"] and "switch the setting `journal` off" in told["message"]
        assert not [one for one in editor.seen if one.get("method") == "window/showMessage"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    one = Journal(tmp_path)
    one.write(OUTCOME)
    os.dup2(full := os.open("/dev/full", os.O_WRONLY), one._file or 0)
    os.close(full)
    with pytest.raises(OSError, match="No space left"):
        one.write(OUTCOME)
    one.close()
