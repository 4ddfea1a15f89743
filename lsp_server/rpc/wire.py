"""The protocol's types in, ours out, and back. Ignores how a message comes and goes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lsprotocol import types

from lsp_server.editor.document import ENCODINGS, Encoding, Place, Position, word_before
from lsp_server.editor.session import Edit, Snapshot

ACCEPTED, SNOOZE = "lacuna.accepted", "lacuna.server.snooze"
CURSOR, CONTEXT, STATUS, TIMING = "lacuna/cursor", "lacuna/context", "lacuna/status", "lacuna/timing"

_LABEL = 60  # characters


_JETBRAINS = re.compile(
    r"intellij|pycharm|webstorm|phpstorm|goland|clion|rider|rubymine|rustrover|datagrip|dataspell|android studio"
    r"|build [A-Z]{2}-\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Habits:
    """How an editor puts a suggestion in, where the protocol leaves it open.

    newlines: it tells of the file's line endings, but its buffers hold \\n alone and take an item as it comes.
    covers: it takes away the text right of the cursor that an item's range covers. Else the cursor goes past that
    text, and the suggestion behind it.
    """

    newlines: bool = False
    covers: bool = True


def encoding(kind: types.PositionEncodingKind | str | None) -> Encoding:
    """The negotiated encoding; utf-16 where none was."""
    name = kind.value if isinstance(kind, types.PositionEncodingKind) else kind
    return next((one for one in ENCODINGS if one == name), "utf-16")


def habits(client: types.ClientInfo | None) -> Habits:
    """The habits of the editor that gave this name; those of VS Code, which takes anything, if it gave none."""
    name = "" if client is None else client.name
    return Habits(newlines=name == "Neovim", covers=_JETBRAINS.search(name) is None)


def position(one: types.Position) -> Position:
    """A position in our terms."""
    return Position(one.line, one.character)


def edits(params: types.DidChangeTextDocumentParams) -> list[Edit]:
    """The edits of a didChange, in their order."""
    found = []
    for change in params.content_changes:
        if isinstance(change, types.TextDocumentContentChangePartial):
            found.append(Edit(change.text, position(change.range.start), position(change.range.end)))
        else:
            found.append(Edit(change.text))
    return found


def cursor(params: Any) -> tuple[str, Position] | None:
    """The document and place of a `lacuna/cursor` or `lacuna/context`; None when it names none."""
    uri = getattr(getattr(params, "textDocument", None), "uri", None)
    at = getattr(params, "position", None)
    line, character = getattr(at, "line", None), getattr(at, "character", None)
    if isinstance(uri, str) and isinstance(line, int) and isinstance(character, int) and min(line, character) >= 0:
        return uri, Position(line, character)
    return None


def state(params: Any) -> dict[str, bool]:
    """What a `lacuna/cursor` says of the cursor beside its place."""
    return {
        "selecting": getattr(params, "selecting", None) is True,
        "in_snippet": getattr(params, "inSnippet", None) is True,
    }


def chosen(params: types.InlineCompletionParams) -> tuple[Position, Position, str] | None:
    """The item that the editor's menu would insert: the range it takes the place of, and its text."""
    one = params.context.selected_completion_info
    if one is None or one.range.start.line != one.range.end.line or "\n" in one.text:
        return None
    return position(one.range.start), position(one.range.end), one.text


def chosen_item(text: str, number: int, params: types.InlineCompletionParams) -> types.InlineCompletionItem:
    """What the editor's menu would insert and, behind it, a suggestion; text: both."""
    one = params.context.selected_completion_info
    assert one is not None
    command = types.Command("Accepted", ACCEPTED, arguments=[number])
    return types.InlineCompletionItem(insert_text=text, range=one.range, command=command)


def inline_item(text: str, number: int, at: types.Position, replaces: int = 0) -> types.InlineCompletionItem:
    """A suggestion as ghost text at the cursor. replaces: characters right of it, each of one code unit."""
    end = types.Position(at.line, at.character + replaces)
    return types.InlineCompletionItem(
        insert_text=text, range=types.Range(at, end), command=types.Command("Accepted", ACCEPTED, arguments=[number])
    )


def menu_item(
    text: str, number: int, snapshot: Snapshot, at: types.Position, start: Position, replaces: int = 0
) -> types.CompletionItem:
    """A suggestion as an item of the completion menu, for editors without ghost text.

    start: where the word at the cursor begins. It is part of what is inserted, for menus filter by it.
    replaces: characters right of the cursor, each of one code unit.
    """
    end = types.Position(at.line, at.character + replaces)
    word = word_at(snapshot)
    whole = word + text
    label = whole.strip().split("\n")[0]
    return types.CompletionItem(
        label=label if len(label) <= _LABEL else label[: _LABEL - 1] + "…",
        kind=types.CompletionItemKind.Text,
        detail="Lacuna",
        filter_text=word or whole,
        sort_text=" ",
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(types.Range(types.Position(start.line, start.units), end), whole),
        command=types.Command("Accepted", ACCEPTED, arguments=[number]),
    )


def word_at(snapshot: Snapshot) -> str:
    """The beginning of a word left of the cursor; empty where there is none."""
    return word_before(snapshot.lines[snapshot.cursor.line], snapshot.cursor.column)


def word_start(snapshot: Snapshot) -> Place:
    """Where that word begins."""
    return Place(snapshot.cursor.line, snapshot.cursor.column - len(word_at(snapshot)))
