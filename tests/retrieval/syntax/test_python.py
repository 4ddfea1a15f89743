"""Python: definitions, scopes, imports."""

from __future__ import annotations

from retrieval import languages
from retrieval.syntax import outlines, syntax
from tests.retrieval.checking import check

PYTHON = languages.LANGUAGES["python"]

SOURCE = '''
LIMIT: int = 3

@property
def area(width,
         height: int = 3,
) -> int:
    """The area. In squares."""
    def inner(): pass
    return width * height

class Box(Base):
    """A box.

    Long story."""
    size: int = 3

    def open(self): self.lid = None
'''


def test_signatures_docs_and_parents_are_read() -> None:
    found = [(d.path, d.kind, d.signature, d.doc) for d in outlines.read(SOURCE, PYTHON).definitions if not d.local]
    assert found == [
        ("LIMIT", "constant", "LIMIT: int = 3", None),
        ("area", "function", "@property def area(width, height: int = 3) -> int:", "The area."),
        ("Box", "class", "class Box(Base):", "A box."),
        ("Box.size", "field", "size: int = 3", None),
        ("Box.open", "method", "def open(self):", None),
        ("Box.lid", "field", "self.lid = None", None),
    ]


def test_the_scopes_around_a_line_are_told_outermost_first() -> None:
    outline = outlines.read(SOURCE, PYTHON)
    inner = next(n for n, line in enumerate(SOURCE.split("\n")) if "inner" in line)
    assert [d.path for d in outlines.enclosing(outline, inner)] == ["area", "area.inner"]


def test_broken_code_still_has_an_outline() -> None:
    outline = outlines.read("def ok(a): pass\nclass Bro(\n  def x(:\n\ndef fine(): pass\n", PYTHON)
    assert "ok" in [d.name for d in outline.definitions]


def test_an_edit_that_breaks_the_code_is_noticed() -> None:
    before, after = "def f(a):\n    return ", "\n\nprint(f(1))\n"
    assert not syntax.adds_error(before, "a + 1", after, PYTHON)
    assert syntax.adds_error(before, "(a + ", after, PYTHON)


def test_code_that_was_broken_may_stay_broken() -> None:
    assert not syntax.adds_error("x = (\ny = ", "1", "\n", PYTHON)


def test_relative_imports_resolve() -> None:
    check(
        """
        === pkg/a/one.py
        def here(): pass
        === pkg/two.py
        def above(): pass
        === pkg/a/use.py
        from .one import here
        from ..two import above
        above()
        here()▮
        """,
        "pkg/a/one.py::here",
        "pkg/two.py::above",
    )


def test_a_package_import_resolves_from_a_source_folder() -> None:
    check(
        """
        === src/pkg/__init__.py
        === src/pkg/core.py
        class Core: pass
        === tests/test_core.py
        import pkg.core as c
        c.Core▮
        """,
        "src/pkg/core.py::Core",
    )


def test_aliases_and_re_exports_are_followed() -> None:
    check(
        """
        === pkg/__init__.py
        from ._impl import Thing as Gadget
        from .more import *
        === pkg/_impl.py
        class Thing:
            def work(self, hard: bool): pass
        === pkg/more.py
        def extra(): pass
        === main.py
        from pkg import Gadget as G, extra
        extra()
        G()▮
        """,
        "pkg/_impl.py::Thing",
        "pkg/more.py::extra",
    )


def test_a_submodule_named_in_a_from_import_is_a_module() -> None:
    check(
        """
        === pkg/__init__.py
        === pkg/tools.py
        def hammer(nail): pass
        def saw(wood): pass
        === main.py
        from pkg import tools
        tools.hammer▮
        """,
        "pkg/tools.py::hammer",
    )
