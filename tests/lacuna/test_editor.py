"""`lacuna --stdio` as an editor starts it: the real server, the real daemon, a tiny model."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lacuna import daemon, isolation, lock, place
from lacuna.settings import Settings
from tests import daemons, tiny
from tests.lsp.scripted_editor import Editor

ROOT = Path(__file__).resolve().parents[2]
ADD = "def add(a, b):\n    return \n\n\nprint(add(1, 2))\n"
BY_HAND = 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def user(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with daemons.settings(model, tmp_path_factory.mktemp("cache")) as settings:
        yield settings


def edit(user: Settings, folder: Path, **environment: str) -> Editor:
    """An editor that has a document open and has heard whether there is a service."""
    editor = Editor(
        folder,
        env=daemons.environment(user, **environment),
        command=isolation.command("--stdio", "--clientProcessId=1"),
    )
    editor.start({"status": True})
    editor.open(ADD)
    editor.wait(lambda one: one.get("method") == "lacuna/status" and one["params"]["state"] in ("ready", "error"))
    return editor


def ask(editor: Editor) -> Any:
    """The items that are answered; what a model of random weights writes may be nothing that can be shown."""
    return editor.reply(editor.ask(1, 11, kind=BY_HAND))["result"]


def pid(user: Settings) -> int | None:
    """The daemon that runs."""
    where = place.find(user)
    held = lock.take(where.lock)
    if held is None:
        return lock.holder(where.lock)
    os.close(held)
    return None


def requests(user: Settings) -> int:
    async def count() -> int:
        client = await daemon.find(user)
        if client is None:
            return 0
        health = await client.health()
        await client.close()
        return health.requests

    return asyncio.run(count())


def test_an_editor_starts_the_daemon_and_is_answered_by_it(user: Settings, tmp_path: Path) -> None:
    with edit(user, tmp_path) as editor:
        assert isinstance(ask(editor), list)
        assert pid(user) is not None
        editor.until(lambda: requests(user) > 0)
        assert editor.leave() == 0
    assert pid(user) is not None, "the daemon stays for the other editors"


def test_after_kill_9_of_the_daemon_the_next_request_is_answered_by_another(user: Settings, tmp_path: Path) -> None:
    with edit(user, tmp_path) as editor:
        ask(editor)
        first = pid(user)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        editor.change(1, 11, "a")
        editor.reply(editor.ask(1, 12, kind=BY_HAND))
        editor.until(lambda: pid(user) not in (None, first))
        editor.until(lambda: requests(user) > 0)


def told_once(editor: Editor) -> str:
    """The one message that the editor shows although it asks three times, and goes on answering."""
    for _ in range(3):
        assert ask(editor) in ([], None)
    shown = [one["params"]["message"] for one in editor.seen if one.get("method") == "window/showMessage"]
    assert len(shown) == 1, shown
    assert "Traceback" not in shown[0]
    return str(shown[0])


def test_a_corrupted_model_is_one_message_and_mending_it_is_enough(user: Settings, model: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(model, tmp_path / "model")
    data = copied / "model.onnx.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    sick = msgspec.structs.replace(user, model=copied)
    with edit(sick, tmp_path) as editor:
        assert "restore the model directory" in told_once(editor)
        data.write_bytes(whole)
        ask(editor)
        editor.until(lambda: requests(sick) > 0)


def test_no_right_to_make_the_socket_is_one_message(user: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with edit(user, tmp_path, LACUNA_RUNTIME_DIR=str(tmp_path / "file" / "run")) as editor:
        assert "LACUNA_RUNTIME_DIR" in told_once(editor)


def test_settings_that_make_no_sense_are_one_message_and_mending_them_is_enough(user: Settings, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("colour = 1")
    with edit(user, tmp_path, LACUNA_CONFIG=str(config)) as editor:
        assert "colour" in told_once(editor)
        config.write_text("")
        ask(editor)
        editor.until(lambda: requests(user) > 0)


def test_a_full_disk_under_the_log_is_no_reason_to_be_silent(user: Settings, tmp_path: Path) -> None:
    with edit(user, tmp_path, LACUNA_LOG="/dev/full") as editor:
        ask(editor)
        editor.until(lambda: requests(user) > 0)
        assert not [one for one in editor.seen if one.get("method") == "window/showMessage"]


def test_a_repository_with_packages_of_our_names_is_not_imported(
    user: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("retrieval", "model_runtime", "lsp_server", "pygls"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("open('hijacked', 'w').close(); raise SystemExit(77)")
    monkeypatch.chdir(tmp_path)
    environment = daemons.environment(user, PYTHONPATH=f".{os.pathsep}{ROOT}")
    command = [sys.executable, "-c", "from lacuna.cli import main; main()", "--stdio"]
    with Editor(tmp_path, env=environment, command=command) as editor:
        editor.start()
        editor.open(ADD)
        ask(editor)
        editor.until(lambda: requests(user) > 0)
    assert not (tmp_path / "hijacked").exists()
