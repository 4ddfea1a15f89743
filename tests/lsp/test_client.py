"""A language client that others wrote drives the server: pytest-lsp checks each message against the specification."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

from tests.lsp.scripted_editor import SERVE, URI


@pytest.fixture
def config(tmp_path: Path) -> ClientServerConfig:
    answers = [{"before": "return ", "text": "a + b\n"}, {"before": "😀 = ", "text": "'smile'\n"}]
    (tmp_path / "script.json").write_text(json.dumps({"answers": answers}), "utf-8")
    return ClientServerConfig([sys.executable, str(SERVE), str(tmp_path / "script.json"), str(tmp_path / "log")])


@pytest.fixture
async def client(config: ClientServerConfig) -> AsyncIterator[LanguageClient]:
    one = await config.start()
    assert isinstance(one, LanguageClient)

    @one.feature(types.CLIENT_REGISTER_CAPABILITY)
    def registered(_: types.RegistrationParams) -> None:
        """The client has no such feature of its own."""

    yield one
    await one.shutdown_session()
    await one.stop()


def params(line: int, character: int) -> types.InlineCompletionParams:
    return types.InlineCompletionParams(
        types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
        types.TextDocumentIdentifier(URI),
        types.Position(line, character),
    )


@pytest.mark.parametrize("editor", ["visual_studio_code", "neovim", "emacs"])
async def test_a_session_of_a_known_editor_holds_to_the_specification(client: LanguageClient, editor: str) -> None:
    able = client_capabilities(editor)
    assert able.text_document is not None
    able.text_document.inline_completion = types.InlineCompletionClientCapabilities()
    client.set_configuration({"lacuna": {"debounce": 0}})
    started = await client.initialize_session(types.InitializeParams(capabilities=able, root_uri="file:///project"))
    assert started.capabilities.inline_completion_provider is not None
    document = types.TextDocumentItem(URI, types.LanguageKind.Python, 1, "def add(a, b):\n    return\n")
    client.text_document_did_open(types.DidOpenTextDocumentParams(document))
    place = types.Range(types.Position(1, 10), types.Position(1, 10))
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(2, URI), [types.TextDocumentContentChangePartial(place, " ")]
        )
    )
    items: Any = await client.text_document_inline_completion_async(params(1, 11))
    assert [item.insert_text for item in items] == ["a + b"]
    command = items[0].command
    await client.workspace_execute_command_async(types.ExecuteCommandParams(command.command, command.arguments))
    client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))
    assert await client.text_document_inline_completion_async(params(1, 11)) == []
