"""Cursor in, snippets out: what `search` finds, packs and keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.index import index
from retrieval.search import search
from retrieval.search.search import Query, Snippet
from tests.retrieval.checking import check, definitions, opened, ranked

SHOP = """
=== shop/models.py
class Order:
    \"\"\"What a customer bought. More words.\"\"\"
    total: int = 0

    def __init__(self, customer: str) -> None:
        self.customer = customer

    def add(self, item: str, price: int) -> None:
        self.total += price
=== shop/api.py
from shop.models import Order

def create(customer):
    order = Order(customer)
    order.▮
"""


def words(text: str) -> int:
    return len(text.split())


def test_an_imported_class_comes_as_signature_docstring_line_and_members() -> None:
    (snippet,) = ranked(SHOP)
    assert snippet.path == "shop/models.py"
    assert snippet.source == "import"
    assert snippet.text == (
        "class Order:\n"
        '    """What a customer bought."""\n'
        "    total: int = 0\n"
        "    def __init__(self, customer: str) -> None:\n"
        "    self.customer = customer\n"
        "    def add(self, item: str, price: int) -> None:\n"
    )


def test_an_import_that_nothing_uses_yet_comes_first_then_the_nearest() -> None:
    check(
        """
        === a.py
        def far(): pass
        def near(): pass
        def unused(): pass
        === b.py
        from a import far, near, unused
        def f():
            far()
            x = 1
            y = 2
            near()
            ▮
        """,
        "a.py::unused",
        "a.py::near",
        "a.py::far",
    )


def test_a_name_without_an_import_is_found_where_it_is_defined() -> None:
    check(
        """
        === a.py
        class Engine:
            def start(self, key: str) -> bool: ...
        === b.py
        def drive(engine):
            engine.start(▮
        """,
        "a.py::Engine",
    )


def test_definitions_shown_by_the_window_are_left_out() -> None:
    query, made = opened("=== a.py\ndef helper(x): pass\n\n\n\n\ndef f():\n    helper(▮\n")
    whole = search.rank(Query(query.path, query.text, query.offset, window=(0, len(query.text))), made)
    tail = search.rank(Query(query.path, query.text, query.offset, window=(25, len(query.text))), made)
    assert whole == ()
    assert [(one.source, one.names) for one in tail] == [("file", ("helper",))]


def test_an_unsaved_buffer_overrides_the_file() -> None:
    query, made = opened("=== a.py\ndef old(): pass\n=== b.py\nfrom a import new\nnew▮\n")
    assert definitions(search.rank(query, made)) == ()
    edited = index.with_buffer(made, "a.py", "def new(x: int): pass\n")
    assert [one.names for one in definitions(search.rank(query, edited))] == [("new",)]
    assert definitions(search.rank(query, index.without_buffer(edited, "a.py"))) == ()


def snippet(path: str, text: str, score: float) -> Snippet:
    return Snippet(path, text, score, "import", (text.split()[0],))


def test_packing_puts_the_most_valuable_last_and_one_group_for_each_file() -> None:
    ranked = [snippet("a.py", "one\n", 0.9), snippet("b.py", "two\n", 0.8), snippet("a.py", "three\n", 0.7)]
    packed = search.pack(ranked, words, 100)
    assert [(one.path, one.text) for one in packed] == [("b.py", "two\n"), ("a.py", "three\none\n")]


@pytest.mark.parametrize("budget", [0, 1, 3, 6, 9, 100])
def test_packing_stays_inside_the_budget(budget: int) -> None:
    ranked = [snippet("a.py", "a b c\n", 0.9), snippet("b.py", "d\n", 0.8), snippet("a.py", "e f\n", 0.7)]
    packed = search.pack(ranked, words, budget)
    assert sum(words(one.path) + 1 + words(one.text) for one in packed) <= budget


def test_what_is_too_large_makes_room_for_what_fits() -> None:
    ranked = [snippet("a.py", "word " * 50, 0.9), snippet("b.py", "d\n", 0.8)]
    assert [one.path for one in search.pack(ranked, words, 10)] == ["b.py"]


def scope_at(text: str) -> str:
    return search.scope(text.replace("▮", ""), text.index("▮"))


def test_the_scope_is_the_same_on_every_line_of_a_function() -> None:
    body = "class A:\n    def f(self):\n        x = 1\n        if x:\n            {}y = 2\n        {}return x\n"
    first, second = scope_at(body.format("▮", "")), scope_at(body.format("", "▮"))
    assert first == second == "class A:\ndef f(self):"


def test_the_scope_changes_with_the_function() -> None:
    text = "def f():\n    {}x = 1\n\ndef g():\n    {}y = 1\n{}"
    f, g, module = (scope_at(text.format(*marks)) for marks in (("▮", "", ""), ("", "▮", ""), ("", "", "▮")))
    assert (f, g, module) == ("def f():", "def g():", "")


def test_uses_of_the_function_being_written_are_shown() -> None:
    query, made = opened(
        """
        === a.py
        def charge(order):
            ▮
        === b.py
        from a import charge
        def checkout(order):
            receipt = charge(order)
            print(receipt.number)
        """
    )
    (usage,) = [one for one in search.rank(query, made) if one.source == "usage"]
    assert (usage.path, usage.text.split("\n")[1]) == ("b.py", "    receipt = charge(order)")


def test_what_was_edited_of_late_is_shown_newest_first() -> None:
    query, made = opened("=== a.py\nx = 1\n=== b.py\ny = 2\n=== main.py\n▮\n")
    made = index.with_buffer(made, "a.py", "x = 1\ntimeout = 30\n", before="x = 1\n")
    made = index.with_buffer(made, "b.py", "y = 2\nretries = 4\n", before="y = 2\n")
    edits = [one for one in search.rank(query, made) if one.source == "edit"]
    assert [(one.path, one.text) for one in edits] == [
        ("b.py", "y = 2\nretries = 4\n"),
        ("a.py", "x = 1\ntimeout = 30\n"),
    ]


def test_an_edit_of_the_file_itself_is_not_shown_and_one_over_another_replaces_it() -> None:
    query, made = opened("=== main.py\n▮x = 1\n=== b.py\ny = 2\n")
    made = index.with_buffer(made, "main.py", "x = 2\n", before="x = 1\n")
    made = index.with_buffer(made, "b.py", "y = 3\n", before="y = 2\n")
    made = index.with_buffer(made, "b.py", "y = 4\n", before="y = 3\n")
    assert [one.text for one in search.rank(query, made) if one.source == "edit"] == ["y = 4\n"]


def test_code_like_the_cursors_is_found_in_open_tabs_as_it_is_now() -> None:
    here, made = opened(
        """
        === tab.py
        alpha = invoice + payment
        === here.py
        def settle(invoice, currency):
            payment = invoice + currency
            ▮
        """
    )
    tab = "def pay(invoice, currency):\n    payment = invoice * currency\n    ledger(payment)\n"
    found = [one.text for one in search.rank(here, index.with_buffer(made, "tab.py", tab)) if one.source == "code"]
    assert found == [tab]
    changed = index.with_buffer(made, "tab.py", "alpha = beta\n")
    assert not [one for one in search.rank(here, changed) if one.source == "code"]


@pytest.mark.parametrize(
    ("path", "other", "here"),
    [
        ("store.py", "def load_invoice(a):\n    return a\n", "from store import load_invoice\n\nload_invoice("),
        ("store.ts", "export function loadInvoice(a: string) {\n  return a\n}\n",
         "import { loadInvoice } from './store'\n\nloadInvoice("),
        ("Store.java", "class Store {\n    int loadInvoice(int a) { return a; }\n}\n", "new Store().loadInvoice("),
        ("store.go", "package shop\n\nfunc LoadInvoice(a int) int {\n\treturn a\n}\n",
         "package shop\n\nvar x = LoadInvoice("),
        ("store.rb", "class Store\n  def load_invoice(a)\n    a\n  end\nend\n", "Store.new.load_invoice("),
    ],
)  # fmt: skip
def test_a_prompt_says_a_definition_once(tmp_path: Path, path: str, other: str, here: str) -> None:
    (tmp_path / path).write_text(other)
    made = index.build(tmp_path)
    query = Query("here." + path.rpartition(".")[2], here, len(here), (0, len(here)))
    found = search.context(query, made, len, 2_000)
    assert "".join(one.text for one in found).lower().replace("_", "").count("loadinvoice") == 1
