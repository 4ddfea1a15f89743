"""Every request is answered, whatever comes in; each defect of pygls that an editor would feel is mended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lsp.scripted_editor import PATIENCE, SERVE, URI, Editor, framed

ADD = "def add(a, b):\n    return \n"
SUM = {"before": "return ", "text": "a + b\n"}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """One server for all that must not harm it."""
    with Editor(tmp_path_factory.mktemp("patient"), SUM) as editor:
        editor.start()
        editor.open(ADD)
        yield editor


def error(editor: Editor, identifier: int) -> dict[str, Any]:
    found: dict[str, Any] = editor.reply(identifier)["error"]
    return found


@pytest.mark.parametrize(
    ("params", "named"),
    [
        (
            {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}, "context": {"triggerKind": 0}},
            "trigger_kind",
        ),
        ({"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}, "context"),
        ({"textDocument": {"uri": URI}, "position": {"line": "x", "character": 0}, "context": {"triggerKind": 1}}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_a_request_that_cannot_be_read_gets_an_error_and_the_next_its_answer(
    patient: Editor, params: object, named: str
) -> None:
    refused = error(patient, patient.request("textDocument/inlineCompletion", params))
    assert refused["code"] == -32602
    assert named in refused["message"]
    assert patient.ghost(1, 11) == "a + b"


@pytest.mark.parametrize(
    ("body", "identifier", "code"),
    [
        (b"{", None, -32700),
        (b"\xff\xfe", None, -32700),
        (b"[" * 100_000, None, -32700),
        (b"[]", None, -32600),
        (b'"text"', None, -32600),
        (b'{"jsonrpc": "1.0", "id": 7, "method": "shutdown"}', 7, -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "shutdown"}', None, -32600),
        (b'{"jsonrpc": "2.0", "id": 7, "method": 3}', 7, -32600),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "no/such"}', 7, -32601),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {"capabilities": {}}}', 7, -32600),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "workspace/executeCommand", "params": {"command": "x"}}', 7, -32602),
    ],
)
def test_what_is_no_good_request_gets_an_error_reply(
    patient: Editor, body: bytes, identifier: int | None, code: int
) -> None:
    patient.send(body)
    refused = patient.wait(lambda message: "error" in message)
    assert (refused["id"], refused["error"]["code"]) == (identifier, code)
    assert patient.ghost(1, 11) == "a + b"


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc": "2.0", "method": "no/such"}',
        b'{"jsonrpc": "2.0", "method": "textDocument/didSave", "params": 3}',
        b'{"jsonrpc": "2.0", "method": "lacuna/cursor", "params": {"position": "here"}}',
        b'{"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 4711}}',
        b'{"jsonrpc": "2.0", "method": "textDocument/didClose", "params": {"textDocument": {"uri": "file:///other"}}}',
        b'{"jsonrpc": "2.0", "id": 4711, "result": null}',
        b'{"jsonrpc": "2.0", "id": 4711, "error": {"code": 1, "message": ""}}',
    ],
)
def test_what_is_no_good_and_no_request_gets_no_reply(patient: Editor, body: bytes) -> None:
    patient.send(body)
    assert patient.ghost(1, 11) == "a + b"
    assert not [message for message in patient.seen if "id" in message]


def test_before_initialize_and_after_shutdown_requests_are_refused(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        assert error(editor, editor.ask(0, 0))["code"] == -32002
        editor.start()
        editor.call("shutdown", None)
        assert error(editor, editor.ask(0, 0))["code"] == -32600
        editor.notify("exit", None)
        assert editor.process.wait(PATIENCE) == 0


def test_exit_without_shutdown_says_so_and_still_answers(tmp_path: Path) -> None:
    with Editor(tmp_path, {**SUM, "first": 60.0}) as editor:
        editor.start()
        editor.open(ADD)
        asked = editor.ask(1, 11)
        editor.until(lambda: bool(editor.asked()))
        editor.notify("exit", None)
        assert editor.reply(asked)["result"] == []
        assert editor.process.wait(PATIENCE) == 1


def test_shutdown_answers_what_is_pending(tmp_path: Path) -> None:
    with Editor(tmp_path, {**SUM, "first": 60.0}) as editor:
        editor.start()
        editor.open(ADD)
        asked = editor.ask(1, 11)
        editor.until(lambda: bool(editor.asked()))
        assert editor.leave() == 0
        assert editor.reply(asked)["result"] == []


def test_inline_completion_is_advertised(tmp_path: Path) -> None:
    with Editor(tmp_path) as editor:
        able = editor.start()
        assert able["inlineCompletionProvider"] == {}
        assert able["textDocumentSync"]["change"] == 2
        assert "lacuna.accepted" in able["executeCommandProvider"]["commands"]
        assert "completionProvider" not in able


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, "utf-16"),
        (["utf-16"], "utf-16"),
        (["utf-8", "utf-16"], "utf-8"),
        (["utf-32"], "utf-32"),
        (["x"], "utf-16"),
    ],
)
def test_the_encoding_is_the_first_of_the_editors_that_is_known(
    tmp_path: Path, offered: list[str] | None, chosen: str
) -> None:
    with Editor(tmp_path, {"before": "😀é = ", "text": "1\n"}) as editor:
        assert editor.start(encodings=offered)["positionEncoding"] == chosen
        editor.open("x\n😀é = y\n")
        column = {"utf-8": 9, "utf-16": 6, "utf-32": 5}[chosen]
        editor.change(1, column, "", removed=1)
        asked = editor.reply(editor.ask(1, column))["result"]
        assert asked[0]["insertText"] == "1"
        place = {"line": 1, "character": column}
        assert asked[0]["range"] == {"start": place, "end": place}


def test_a_form_feed_does_not_shift_the_lines_after_it(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "x\n\fa\u2028b\x0b = ", "text": "1\n"}) as editor:
        editor.start()
        editor.open("x\n\fa\u2028b\x0b =\n")
        editor.change(1, 7, " ")
        assert editor.ghost(1, 8) == "1"


def test_half_a_character_does_not_harm_the_text_around_it(tmp_path: Path) -> None:
    with Editor(tmp_path, {"before": "x = '\ufffd' + ", "text": "1\n"}) as editor:
        editor.start()
        document = {"uri": URI, "languageId": "python", "version": 1, "text": "x = '\ud83d' +\n"}
        editor.notify("textDocument/didOpen", {"textDocument": document})
        editor.change(0, 9, " ")
        assert editor.ghost(0, 10) == "1"


def test_one_reading_thread_hears_the_editor_whatever_else_is_slow(tmp_path: Path) -> None:
    """Neither a slow search nor a slow service keeps other requests from being answered."""
    slow = {**SUM, "first": 60.0}
    with Editor(tmp_path, slow, snippets=[["a.py", "x = 1\n"]], lookup=60.0, connecting=1.0) as editor:
        editor.start()
        for number in range(8):
            editor.open(ADD, uri=f"{URI}.{number}")
        asked = [editor.ask(1, 11, uri=f"{URI}.{number}") for number in range(8)]
        assert error(editor, editor.request("no/such", None))["code"] == -32601
        assert [editor.reply(one)["result"] for one in asked[:-1]] == [[]] * 7


def test_a_cancelled_request_is_answered_and_frees_the_service(tmp_path: Path) -> None:
    with Editor(tmp_path, {**SUM, "first": 60.0}) as editor:
        editor.start()
        editor.open(ADD)
        asked = editor.ask(1, 11)
        editor.until(lambda: bool(editor.asked()))
        editor.notify("$/cancelRequest", {"id": asked})
        assert error(editor, asked)["code"] == -32800
        editor.until(lambda: bool(editor.asked("cancelled")))
        editor.notify("$/cancelRequest", {"id": 12345})
        assert error(editor, editor.request("no/such", None))["code"] == -32601


def test_a_lost_edit_silences_its_file_until_it_is_opened_again(tmp_path: Path) -> None:
    with Editor(tmp_path, SUM) as editor:
        editor.start()
        editor.open(ADD)
        wrong = {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"range": "all", "text": 3}]}
        editor.notify("textDocument/didChange", wrong)
        assert "could not read an edit" in editor.told("window/showMessage")["message"]
        assert editor.ghost(1, 11) is None
        editor.open(ADD)
        assert editor.ghost(1, 11) == "a + b"


def test_no_word_of_the_users_code_is_ever_logged(tmp_path: Path) -> None:
    """Not on the way in or out, and not when something is wrong with a message that holds it."""
    secret = "sesame_open_4711"
    with Editor(
        tmp_path, {"before": "return ", "text": f"{secret}\n"}, env={**os.environ, "PYTHONDEVMODE": "1"}
    ) as editor:
        editor.start({"timings": True, "status": True})
        editor.open(f"{secret} = 1\n{ADD}")
        assert editor.ghost(2, 11) == secret
        document = {"uri": URI, "version": 2}
        edit = {"range": {"start": {"line": -1, "character": 0}, "end": secret}, "text": secret}
        editor.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [edit]})
        editor.notify("textDocument/didOpen", {"textDocument": {"text": secret}})
        editor.notify("lacuna/cursor", {"textDocument": secret})
        refused = error(editor, editor.request("textDocument/inlineCompletion", {"textDocument": secret}))
        assert secret not in json.dumps(refused)
        editor.notify("workspace/didChangeConfiguration", {"settings": {"lacuna": {"enabled": 3}}})
        assert editor.leave() == 0
        assert secret not in json.dumps(editor.seen)
        assert secret.encode() not in editor.errors


def test_a_file_on_stdin_is_served_like_a_pipe(tmp_path: Path) -> None:
    """A plain file ends at once; what it asked is answered all the same."""
    (tmp_path / "script.json").write_text(json.dumps({"answers": [{**SUM, "each": 0.02}]}), "utf-8")
    place = {"textDocument": {"uri": URI}, "position": {"line": 1, "character": 11}, "context": {"triggerKind": 1}}
    document = {"uri": URI, "languageId": "python", "version": 1, "text": ADD}
    session = tmp_path / "session"
    session.write_bytes(
        b"".join(
            framed({"jsonrpc": "2.0", **message})
            for message in (
                {"id": 1, "method": "initialize", "params": {"capabilities": {}}},
                {"method": "initialized", "params": {}},
                {"method": "textDocument/didOpen", "params": {"textDocument": document}},
                {"id": 2, "method": "textDocument/inlineCompletion", "params": place},
            )
        )
    )
    with session.open("rb") as stdin:
        ran = subprocess.run(
            [sys.executable, str(SERVE), str(tmp_path / "script.json"), str(tmp_path / "log")],
            stdin=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    assert ran.returncode == 1, "it ended without being told to"
    assert b'"insertText": "a + b"' in ran.stdout
    assert ran.stderr == b""


def test_an_editor_that_vanishes_takes_its_server_with_it(tmp_path: Path) -> None:
    with Editor(tmp_path, {**SUM, "first": 60.0}) as editor:
        editor.start()
        editor.open(ADD)
        editor.ask(1, 11)
        editor.until(lambda: bool(editor.asked()))
        assert editor.process.stdin is not None
        editor.process.stdin.close()
        assert editor.process.wait(PATIENCE) == 1


def test_what_prints_does_not_print_into_the_protocol(tmp_path: Path) -> None:
    entry = tmp_path / "noisy.py"
    entry.write_text(
        f"import sys; sys.path.insert(0, {str(SERVE.parent.parent.parent)!r})\n"
        "import os, subprocess\n"
        "from lsp_server import server\n"
        "async def connect():\n"
        "    print('to stdout'); os.write(1, b'raw'); subprocess.run(['echo', 'child'])\n"
        "    raise RuntimeError('no service today')\n"
        "sys.exit(server.run(connect))\n"
    )
    with Editor(tmp_path, command=[sys.executable, str(entry)]) as editor:
        editor.start()
        assert "no service today" in editor.told("window/showMessage")["message"]
        assert editor.leave() == 0
        editor.until(lambda: b"child" in editor.errors)
    assert b"to stdout" in editor.errors
