"""What a prompt shows of other files is what they say now, whoever changed them; what did not change costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lsp_server.completion.completion import Answer
from lsp_server.editor.session import Snapshot
from lsp_server.editor.window import Frame
from lsp_server.related.context import Contexts, Part, Retrieved
from model_runtime.prompt import Snippet
from tests.lsp.pipeline import Typing
from tests.lsp.scripted_editor import Editor

PAUSE = 0.6  # seconds after which a prompt is made ready
Case = tuple[str, str, str, str, str, str, str, str]
# language, other file, old and new definition, a word of either, this file and its text up to the cursor
CASES: list[Case] = [
    ("python", "store.py", "def load_invoice(number):\n    return number\n",
     "def load_invoice(number, customer, *, currency):\n    return number\n", "load_invoice(number)", "currency",
     "a.py", "from store import load_invoice\n\n\ndef bill():\n    return load_invoice("),
    ("typescript", "store.ts", "export function loadInvoice(number: string) {\n  return number\n}\n",
     "export function loadInvoice(number: string, currency: string) {\n  return number\n}\n", "number: string)",
     "currency", "a.ts", "import { loadInvoice } from './store'\n\nexport function bill() {\n  return loadInvoice("),
    ("go", "store.go", "package shop\n\nfunc LoadInvoice(number int) int {\n\treturn number\n}\n",
     "package shop\n\nfunc LoadInvoice(number int, currency string) int {\n\treturn number\n}\n", "number int)",
     "currency", "a.go", "package shop\n\nfunc Bill() int {\n\treturn LoadInvoice("),
    ("rust", "src/store.rs", "pub fn load_invoice(number: u32) -> u32 {\n    number\n}\n",
     "pub fn load_invoice(number: u32, currency: &str) -> u32 {\n    number\n}\n", "number: u32)", "currency",
     "src/bill.rs", "use crate::store::load_invoice;\n\npub fn bill() -> u32 {\n    load_invoice("),
    ("java", "shop/Store.java",
     "package shop;\n\nclass Store {\n    int loadInvoice(int number) { return number; }\n}\n",
     "package shop;\n\nclass Store {\n    int loadInvoice(int number, String currency) { return number; }\n}\n",
     "int number)", "currency", "shop/Bill.java",
     "package shop;\n\nclass Bill {\n    int bill(Store store) {\n        return store.loadInvoice("),
    ("ruby", "lib/store.rb", "class Store\n  def load_invoice(number)\n    number\n  end\nend\n",
     "class Store\n  def load_invoice(number, currency)\n    number\n  end\nend\n", "(number)", "currency",
     "lib/bill.rb", "require_relative 'store'\n\ndef bill(store)\n  Store.new.load_invoice("),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case[0])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


class Shop:
    """An editor in a folder of two files, in whose first prompt the old definition stands."""

    def __init__(self, folder: Path, case: Case, **capabilities: Any) -> None:
        self.language, self.other, self.old, self.new, self.old_word, self.new_word, self.here, self.text = case
        self.root = folder / "project"
        for path, text in ((self.other, self.old), (self.here, self.text)):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        self.editor = Editor(folder, cache=str(folder / "cache"))
        self.editor.start({"debounce": 0}, folder=self.root.as_uri(), **capabilities)
        self.uri = (self.root / self.here).as_uri()
        self.other_uri = (self.root / self.other).as_uri()
        self.editor.open(self.text + ")\n", self.uri, self.language)
        self.typed = ""
        self.until(self.old_word)

    def until(self, word: str) -> None:
        """Types now and then until the prompt shows a word."""
        self.editor.until(lambda: word in self.context() or bool(time.sleep(PAUSE)))

    def context(self) -> str:
        """What the next prompt shows of other files, after a key."""
        line, column = self.text.count("\n"), len(self.text) - self.text.rfind("\n") - 1 + len(self.typed)
        self.editor.change(line, column, "q", uri=self.uri)
        self.typed += "q"
        before = len(self.editor.asked())
        self.editor.ghost(line, column + 1, kind=1, uri=self.uri)
        asked = self.editor.asked()
        assert len(asked) > before
        return "".join(one["text"] for one in asked[-1].get("context", ()) if one["path"] == self.other)


@pytest.fixture
def shop(tmp_path: Path, case: Case) -> Iterator[Shop]:
    one = Shop(tmp_path, case)
    with one.editor:
        yield one


def check_new(shop: Shop) -> None:
    context = shop.context()
    assert shop.old_word not in context
    shop.until(shop.new_word)


def test_a_saved_file_is_shown_as_it_is(shop: Shop) -> None:
    (shop.root / shop.other).write_text(shop.new)
    shop.editor.notify("textDocument/didSave", {"textDocument": {"uri": shop.other_uri}})
    shop.editor.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": shop.other_uri, "type": 2}]})
    check_new(shop)


def test_an_open_buffer_is_shown_as_it_is_without_a_pause(shop: Shop) -> None:
    shop.editor.open(shop.old, shop.other_uri, shop.language)
    shop.editor.version += 1
    document = {"uri": shop.other_uri, "version": shop.editor.version}
    shop.editor.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": shop.new}]})
    check_new(shop)
    shop.editor.notify("textDocument/didClose", {"textDocument": {"uri": shop.other_uri}})
    assert shop.new_word not in shop.context(), "the disk speaks again"


def test_a_file_that_is_gone_is_shown_no_more(shop: Shop) -> None:
    (shop.root / shop.other).unlink()
    shop.editor.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": shop.other_uri, "type": 3}]})
    assert shop.old_word not in shop.context()


def test_an_editor_that_tells_nothing_is_told(tmp_path: Path) -> None:
    shop = Shop(tmp_path, CASES[0])
    with shop.editor:
        (shop.root / shop.other).write_text(shop.new)
        shop.until(shop.new_word)
        assert shop.old_word not in shop.context()


def test_a_second_editor_shows_it_before_the_first_has_read_it(tmp_path: Path) -> None:
    first = Editor(tmp_path, cache=str(tmp_path / "cache"))
    with first:
        first.start(folder=(tmp_path / "project").as_uri())
        second = tmp_path / "second"
        second.mkdir()
        shop = Shop(tmp_path, CASES[0])
        with shop.editor:
            (shop.root / shop.other).write_text(shop.new)
            shop.editor.notify("textDocument/didSave", {"textDocument": {"uri": shop.other_uri}})
            check_new(shop)


def said(text: str, *, chosen: bool = True, name: str = "load") -> Retrieved:
    snippets = (Snippet("package/store.py", text),) if chosen else ()
    return Retrieved(snippets, parts=(Part("package/store.py", (name,), text, chosen),))


@pytest.mark.parametrize(
    ("path", "after", "is_read_anew"),
    [
        ("package/store.py", said("def load(a, b): ...\n"), True),
        ("package/store.py", said("def load(a): ...\n"), False),
        ("package/other.py", said("def load(a): ...\n"), False),
        ("package/other.py", said("", chosen=False), False),
    ],
    ids=["another signature", "another body", "another file", "another choice for another file"],
)
async def test_only_what_a_change_touches_costs_a_prompt(
    tmp_path: Path, path: str, after: Retrieved, is_read_anew: bool
) -> None:
    now = [said("def load(a): ...\n")]

    async def retrieve(snapshot: Snapshot, frame: Frame) -> Retrieved:
        return now[0]

    typing = Typing(tmp_path, "total = <caret>", {"before": "", "text": "1"}, retrieve=retrieve)
    await typing.state.contexts.of(typing.snapshot(), _frame(typing), 1.0)
    await typing.answer()
    before = typing.state.anchors[typing.snapshot().uri]
    now[0] = after
    typing.state.contexts.changed("/project", path)
    typing.state.outdated.add(before.uri)
    typing.type("2")
    answer: Answer = await typing.answer()
    assert answer.generation is not None
    assert (answer.generation.frame.anchor.context != before.context) is is_read_anew
    await typing.close()


def _frame(typing: Typing) -> Frame:
    from lsp_server.editor import window

    return window.frame(typing.snapshot(), None)


async def test_a_change_while_it_is_looked_for_is_not_missed(tmp_path: Path) -> None:
    answers = iter([said("def load(a): ...\n"), said("def load(a, b): ...\n")])
    changed: list[Callable[[], object]] = []

    async def retrieve(snapshot: Snapshot, frame: Frame) -> Retrieved:
        found = next(answers)
        if changed:
            changed.pop()()
        return found

    typing = Typing(tmp_path, "total = <caret>", retrieve=retrieve)
    contexts: Contexts = typing.state.contexts
    changed.append(lambda: contexts.changed("/project", "package/store.py"))
    frame = _frame(typing)
    await contexts.of(typing.snapshot(), frame, 1.0)
    assert contexts.known(typing.snapshot(), frame) is None
    found = await contexts.of(typing.snapshot(), frame, 1.0)
    assert [one.text for one in found.found] == ["def load(a, b): ...\n"]
    await typing.close()
