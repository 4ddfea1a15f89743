"""What an editor sees: one answer for each request, the newest wins, settings and states are told and followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lsp.scripted_editor import GHOSTS, PATIENCE, URI, Editor

ADD = "def add(a, b):\n    return \n"
SUM = {"before": "return ", "text": "a + b\n"}
NEVER = {**SUM, "first": 60.0}


def started(editor: Editor, options: object = None, text: str = ADD, **more: Any) -> Editor:
    editor.start(options, **more)
    editor.open(text)
    return editor


def test_a_suggestion_is_shown_at_the_cursor_and_runs_a_command_when_accepted(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor)
        item = editor.reply(editor.ask(1, 11))["result"][0]
        place = {"line": 1, "character": 11}
        assert item["insertText"] == "a + b"
        assert item["range"] == {"start": place, "end": place}
        command = item["command"]
        assert command["command"] == "lacuna.accepted"
        told = {"command": command["command"], "arguments": command["arguments"]}
        assert editor.call("workspace/executeCommand", told) is None
        assert editor.call("workspace/executeCommand", {"command": "lacuna.accepted", "arguments": ["a + b"]}) is None
        assert editor.call("workspace/executeCommand", {"command": "lacuna.accepted"}) is None


def test_a_suggestion_that_goes_on_behind_a_closer_has_a_range_over_it(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "f(", "text": "a) + g(b)\n"}) as editor:
        started(editor, text="x = '😀' + f()\n")
        item = editor.reply(editor.ask(0, 13))["result"][0]
        assert item["insertText"] == "a) + g(b)"
        assert item["range"] == {"start": {"line": 0, "character": 13}, "end": {"line": 0, "character": 14}}


@pytest.mark.parametrize(
    ("language", "name", "text"),
    [
        ("java", "A.java", ("a<" * 40 + "\n") * 250),
        ("csharp", "A.cs", "a<" * 100_000),
        ("python", "a.py", ("/*" * 40 + "\n") * 25),
        ("python", "a.py", "(" * 200_000),
        ("cpp", "a.cpp", "([{" * 60_000),
        ("json", "a.json", "[" * 200_000),
        ("javascript", "a.min.js", "f(a,[0,1]);" * 450_000),
    ],
)
def test_a_file_that_no_grammar_reads_stops_no_suggestion_in_another(
    tmp_path: Path, language: str, name: str, text: str
) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor)
        odd = f"file:///project/{name}"
        editor.open(text, odd, language)
        place = len(text.split("\n")) - 1
        width = len(text.split("\n")[-1])
        editor.reply(editor.ask(place, width, uri=odd))
        editor.change(place, width, "return ", uri=odd)
        asked = editor.ask(place, width + 7, uri=odd)
        editor.until(lambda: editor.ghost(1, 11) == "a + b")
        editor.reply(asked)
        assert editor.leave() == 0


def test_a_suggestion_goes_on_from_the_item_that_the_menu_has_selected(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "return compute", "text": "(a, b)\n"}) as editor:
        started(editor, text="def add(a, b):\n    return com\n")
        word = {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}

        def asked(text: str) -> Any:
            context = {"triggerKind": 2, "selectedCompletionInfo": {"range": word, "text": text}}
            place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 14}, "context": context}
            return editor.call("textDocument/inlineCompletion", place)

        item = asked("compute")[0]
        assert (item["insertText"], item["range"]) == ("compute(a, b)", word)
        assert asked("other") == []


def test_by_hand_several_suggestions_are_offered_and_an_automatic_request_gets_one(tmp_path: Path) -> None:
    with Editor(tmp_path, {**SUM, "others": ["a - b", "a * b"]}) as editor:
        started(editor)
        automatic = editor.reply(editor.ask(1, 11))["result"]
        invoked = editor.reply(editor.ask(1, 11, kind=1))["result"]
        assert [item["insertText"] for item in automatic] == ["a + b"]
        assert [item["insertText"] for item in invoked] == ["a + b", "a - b", "a * b"]
        editor.change(1, 11, "a -")
        assert editor.ghost(1, 14) == " b"


def test_a_snooze_is_quiet_until_it_is_over_or_asked_by_hand(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor, {"status": True})
        editor.call("workspace/executeCommand", {"command": "lacuna.server.snooze", "arguments": [5]})
        editor.wait(lambda one: one.get("params") == {"state": "off", "reason": "snoozing"})
        assert editor.ghost(1, 11) is None
        assert editor.ghost(1, 11, kind=1) == "a + b"
        editor.call("workspace/executeCommand", {"command": "lacuna.server.snooze"})
        assert editor.ghost(1, 11) == "a + b"


def test_nothing_is_suggested_while_text_is_selected(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor)
        place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 11}}
        editor.notify("lacuna/cursor", {**place, "selecting": True})
        assert editor.ghost(1, 11) is None
        editor.notify("lacuna/cursor", place)
        assert editor.ghost(1, 11) == "a + b"


def test_an_edit_answers_the_older_request_at_once_with_nothing(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "return a", "text": " + b\n"}, NEVER) as editor:
        started(editor)
        older = editor.ask(1, 11)
        editor.until(lambda: bool(editor.asked()))
        editor.change(1, 11, "a")
        assert editor.reply(older)["result"] == []
        assert editor.ghost(1, 12) == " + b"


def test_a_newer_request_answers_the_older_at_once_with_nothing(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "add", "text": "(1, 2)\n"}, NEVER) as editor:
        started(editor, text=ADD + "add\n")
        older = editor.ask(1, 11)
        editor.until(lambda: bool(editor.asked()))
        assert editor.ghost(2, 3) == "(1, 2)"
        assert editor.reply(older)["result"] == []


def test_keys_faster_than_the_model_leave_one_answer_and_no_silence(tmp_path: Path) -> None:
    """Everything is in the pipe before the server reads the first of it."""
    with Editor(tmp_path, {"before": "value", "text": " = 1\n", "first": 0.02}) as editor:
        started(editor, text="\n")
        asked = []
        for at, key in enumerate("value", start=1):
            editor.change(0, at - 1, key)
            asked.append(editor.ask(0, at))
        answers = [editor.reply(one)["result"] for one in asked]
        assert [len(one) for one in answers[:-1]] == [0, 0, 0, 0]
        assert answers[-1][0]["insertText"] == " = 1"


def test_with_nothing_valid_a_request_is_answered_empty_at_its_deadline(tmp_path: Path) -> None:
    with Editor(tmp_path, NEVER) as editor:
        started(editor, {"deadline": 100})
        assert editor.ghost(1, 11) is None
        assert editor.ghost(1, 11, kind=1) is None


def test_carriage_returns_and_tabs_are_kept(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "{\n\t", "text": "a();\n\tb();\n}\n"}) as editor:
        editor.start()
        editor.open("if (x) {\r\n\t\r\n}\r\n", language="javascript")
        assert editor.ghost(1, 1) == "a();\r\n\tb();"
        assert "\r" not in editor.asked()[0]["prefix"] + editor.asked()[0]["suffix"]


# Settings


def test_bad_settings_are_named_and_the_defaults_used(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor, {"deadline": "soon", "debounce": -3, "editorsOwn": 1})
        told = sorted(editor.told("window/showMessage")["message"] for _ in range(2))
        assert "lacuna.deadline" in told[0] + told[1]
        assert "lacuna.debounce" in told[0] + told[1]
        assert editor.ghost(1, 11) == "a + b"


@pytest.mark.parametrize("options", [{"enabled": False}, {"languages": {"python": False}}])
def test_where_lacuna_is_off_nothing_is_asked(tmp_path: Path, options: dict[str, Any]) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor, options)
        assert editor.ghost(1, 11, kind=1) is None
        assert editor.asked() == []


def test_the_editors_configuration_goes_before_its_initial_options(tmp_path: Path) -> None:
    able = {**GHOSTS, "workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}}}
    with Editor(tmp_path, SUM) as editor:
        editor.configuration = {"enabled": False}
        started(editor, {"enabled": True, "status": True}, capabilities=able)
        registered = editor.wait(lambda message: message.get("method") == "client/registerCapability")
        assert registered["params"]["registrations"][0]["method"] == "workspace/didChangeConfiguration"
        editor.wait(lambda message: message.get("params") == {"state": "off", "reason": None})
        assert editor.ghost(1, 11) is None
        editor.configuration = {"enabled": True}
        editor.seen.clear()
        editor.notify("workspace/didChangeConfiguration", {"settings": None})
        editor.wait(lambda message: message.get("params") == {"state": "ready", "reason": None})
        assert editor.ghost(1, 11) == "a + b"


def test_settings_that_are_pushed_are_taken(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor)
        editor.notify("workspace/didChangeConfiguration", {"settings": {"lacuna": {"enabled": False}}})
        assert editor.ghost(1, 11) is None
        editor.notify("workspace/didChangeConfiguration", {"settings": {"lacuna": {}}})
        assert editor.ghost(1, 11) == "a + b"


@pytest.mark.parametrize("wanted", [True, False])
def test_retrieval_is_a_setting_and_on_by_default(tmp_path: Path, wanted: bool) -> None:
    with Editor(tmp_path, SUM, snippets=[["other.py", "def helper(): ...\n"]]) as editor:
        started(editor, None if wanted else {"retrieval": {"enabled": False}})
        place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 11}}
        editor.call("lacuna/context", place)  # so that a busy machine has found it before the key
        assert editor.ghost(1, 11) == "a + b"
        context = editor.asked()[0].get("context", [])
        assert context == ([{"path": "other.py", "text": "def helper(): ...\n"}] if wanted else [])


@pytest.mark.parametrize("tells", [True, False, None])
def test_the_disk_is_watched_for_an_editor_that_does_not_tell_of_files(tmp_path: Path, tells: bool | None) -> None:
    files = {} if tells is None else {"workspace": {"didChangeWatchedFiles": {"dynamicRegistration": tells}}}
    with Editor(tmp_path, SUM, snippets=[["other.py", "def helper(): ...\n"]]) as editor:
        editor.start(capabilities={**GHOSTS, **files})
        editor.until(lambda: bool(editor.asked("start")))
        assert [one["watch"] for one in editor.asked("start")] == [not tells]


# What is told


def test_a_service_that_cannot_start_is_told_once_and_the_editor_stays_usable(tmp_path: Path) -> None:
    words = "the model is corrupted; restore the model directory"
    with Editor(tmp_path, SUM, connect=words) as editor:
        started(editor, {"status": True})
        assert editor.told("window/showMessage") == {"type": 1, "message": f"Lacuna: {words}"}
        editor.wait(lambda message: message.get("params") == {"state": "error", "reason": words})
        assert editor.ghost(1, 11) is None
        editor.change(1, 11, "a")
        assert editor.ghost(1, 12, kind=1) is None
        assert editor.leave() == 0
        assert "window/showMessage" not in [message.get("method") for message in editor.seen]


def test_states_are_told_only_to_who_asked_for_them(tmp_path: Path) -> None:
    with Editor(tmp_path, {**SUM, "first": 0.4}) as editor:
        started(editor)
        assert editor.ghost(1, 11) == "a + b"
        assert editor.leave() == 0
        assert [message["method"] for message in editor.seen if "method" in message] == []


def test_a_request_that_waits_is_shown_to_wait(tmp_path: Path) -> None:
    with Editor(tmp_path, {**SUM, "first": 0.5}) as editor:
        started(editor, {"status": True})
        editor.wait(lambda message: message.get("params") == {"state": "ready", "reason": None})
        asked = editor.ask(1, 11)
        editor.wait(lambda message: message.get("params") == {"state": "thinking", "reason": None})
        assert editor.reply(asked)["result"] != []
        editor.wait(lambda message: message.get("params") == {"state": "ready", "reason": None})


def test_timings_tell_where_the_time_went_and_hold_no_code(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor, {"timings": True})
        asked = editor.ask(1, 11)
        assert editor.reply(asked)["result"] != []
        timing = editor.told("lacuna/timing")
        assert (timing["id"], timing["version"], timing["source"], timing["shown"]) == (asked, 1, "model", True)
        assert (timing["prefilled"], timing["reused"]) == (1, len(ADD) - 2)
        assert 0 <= timing["outside_ms"] <= timing["total_ms"]
        assert "a + b" not in str(timing)
        editor.change(1, 11, "a")
        editor.ghost(1, 12)
        assert editor.told("lacuna/timing")["source"] == "memory"
        assert editor.ghost(1, 6) is None
        told = editor.told("lacuna/timing")
        assert (told["source"], told["shown"], told["reason"]) == ("skip", False, "inside a word")


# The cursor and the pause


def test_the_cursors_place_is_read_ahead_and_other_editors_do_without(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        started(editor)
        editor.notify("lacuna/cursor", {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 11}})
        editor.until(lambda: '"max_tokens": 0' in (editor.log.read_text() if editor.log.exists() else ""))
        assert editor.asked() == []
        assert editor.ghost(1, 11) == "a + b"


def test_an_editor_may_ask_what_the_model_is_given_from_elsewhere(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM, snippets=[["other.py", "def scale(a):\n    return 2 * a\n"]]) as editor:
        started(editor)
        place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 11}}
        (given,) = editor.call("lacuna/context", place)
        assert given == {"path": "other.py", "text": "def scale(a):\n    return 2 * a\n"}
        assert editor.call("lacuna/context", {**place, "textDocument": {"uri": "file:///not/open.py"}}) == []


# Editors without ghost text


def test_an_editor_without_ghost_text_gets_a_menu(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "ret", "text": "urn a + b\n"}) as editor:
        able = editor.start(capabilities={"textDocument": {"completion": {}}})
        assert "(" in able["completionProvider"]["triggerCharacters"]
        editor.open("def add(a, b):\n    ret\n")
        place = {"line": 1, "character": 7}
        found = editor.call("textDocument/completion", {"textDocument": {"uri": URI}, "position": place})
        assert found["isIncomplete"]
        item = found["items"][0]
        assert item["textEdit"]["newText"] == "return a + b"
        assert item["textEdit"]["range"] == {"start": {"line": 1, "character": 4}, "end": place}
        assert item["filterText"] == "ret"
        assert item["label"] == "return a + b"
        nothing = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 5}}
        assert editor.call("textDocument/completion", nothing) == {"isIncomplete": True, "items": []}


@pytest.mark.parametrize(("wanted", "offered"), [(True, True), (False, False), (None, False)])
def test_a_menu_beside_ghost_text_is_the_users_choice(tmp_path: Path, wanted: bool | None, offered: bool) -> None:
    with Editor(tmp_path) as editor:
        assert ("completionProvider" in editor.start({"completion": wanted})) == offered


def test_ten_documents_are_ten_mirrors(tmp_path: Path) -> None:
    with Editor(tmp_path, *({"before": f"name_{at} = ", "text": f"{at}\n"} for at in range(10))) as editor:
        editor.start()
        for at in range(10):
            editor.open(f"name_{at} =\n", uri=f"{URI}.{at}")
            editor.change(0, 8, " ", uri=f"{URI}.{at}")
        assert [editor.ghost(0, 9, uri=f"{URI}.{at}") for at in range(10)] == [str(at) for at in range(10)]
        editor.notify("textDocument/didClose", {"textDocument": {"uri": f"{URI}.3"}})
        assert editor.ghost(0, 9, uri=f"{URI}.3") is None
        assert editor.process.poll() is None
        assert editor.leave() == 0
        assert editor.process.wait(PATIENCE) == 0
