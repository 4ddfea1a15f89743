"""What a language wants of a text: where blocks end, what they are indented with, where a list may end with a comma."""

from __future__ import annotations

import pytest

from lsp_server.editor.window import frame, settled
from lsp_server.shaping.suggestion import Suggestion, shape
from lsp_server.shaping.truncation import Plan, plan
from tests.caret import snapshot


def check(language: str, text: str, raw: str, expected: str, wanted: Plan | None = None) -> None:
    one = settled(frame(snapshot(text, language=language), None), ())
    found = shape(raw, "end", one, wanted or plan(one, 10))
    assert isinstance(found, Suggestion) and found.text == expected


@pytest.mark.parametrize(
    ("language", "text", "block"),
    [
        ("ruby", "def f(x)\n  xs.each do<caret>\nend\n", "\n    g(1)\n  end"),
        ("lua", "local function f(x)\n  if x then<caret>\nend\n", "\n    g(x)\n  end"),
        ("ruby", "describe 'a' do\n  it 'b' do<caret>\nend\n", "\n    expect(1).to eq(1)\n  end"),
        ("elixir", "defmodule A do\n  def f(x) do<caret>\nend\n", "\n    x + 1\n  end"),
        ("python", "def f(x):\n    if x:<caret>\n    return None\n", "\n        log(x)\n        return None"),
        ("shellscript", "f() {\n  for x in a; do\n    if y; then<caret>\n  done\n}\n", "\n      g\n      break"),
        ("julia", "module A\n  begin<caret>\nend\n", "\n    g(x)\n  end"),
        ("python", "for x in xs:\n    if x:<caret>\n    continue\n", "\n        log(x)\n        continue"),
        ("crystal", "class A\n  list.each do<caret>\nend\n", "\n    puts 1\n  end"),
        ("vhdl", "process\n  begin<caret>\nend process;\n", "\n    x <= 1;\n  end process;"),
    ],
)
def test_a_last_line_deeper_than_its_twin_below_is_not_that_line(language: str, text: str, block: str) -> None:
    check(language, text, block, block)


@pytest.mark.parametrize(
    ("language", "text", "raw", "expected"),
    [
        ("makefile", "SRCS = a.c \\\n    b.c \\\n    c.c\n\ntest:<caret>\n", "\n\techo hi", "\n\techo hi"),
        ("makefile", "test:<caret>\n", "\n    echo hi\n    echo ho", "\n\techo hi\n\techo ho"),
        ("go", "package a\n\nfunc f() {<caret>\n}\n", "\n    return", "\n\treturn"),
        (
            "go",
            "package a\n\n/*\n    note\n*/\nconst q = `\n    SELECT 1\n`\n\nfunc f() {<caret>\n}\n",
            "\n\treturn",
            "\n\treturn",
        ),
        ("go", "package a\n\nfunc f() {\n\tfor {<caret>\n}\n", "\n        g()\n    }", "\n\t\tg()\n\t}"),
        (
            "c",
            "/*\n    a note\n    and more\n*/\nint f(void) {\n\tif (x) {<caret>\n}\n",
            "\n\t\tg();\n\t}",
            "\n\t\tg();\n\t}",
        ),
        (
            "javascript",
            "const q = `\n    a\n    b\n    c`;\nfunction f() {\n\tif (x) {<caret>\n}\n",
            "\n\t\tg();\n\t}",
            "\n\t\tg();\n\t}",
        ),
        ("shellscript", "run a \\\n    b \\\n    c\nf() {\n\tif x; then<caret>\n}\n", "\n\t\tg", "\n\t\tg"),
        ("python", 's = """\n\ta\n\tb\n"""\ndef f():\n    if x:<caret>\n', "\n        g()", "\n        g()"),
    ],
)
def test_lines_are_indented_as_the_language_or_the_code_is(language: str, text: str, raw: str, expected: str) -> None:
    check(language, text, raw, expected)


def test_the_recipe_of_a_makefile_goes_on_with_tabs() -> None:
    check("makefile", "all:\n\techo one<caret>\n", "\n    echo two", "\n\techo two", Plan(10, floor=0, headed=True))


@pytest.mark.parametrize(
    ("language", "text", "raw", "expected"),
    [
        ("json", '{\n  "scripts": {\n    "test": "<caret>"\n  }\n}\n', 'jest",', "jest"),
        ("json", '[\n  "a",\n  <caret>\n]\n', '"b",', '"b"'),
        ("sql", "SELECT\n  a,\n  b,\n  <caret>\nFROM t\n", "c,", "c"),
        ("sql", "CREATE TABLE t (\n  a int,\n  <caret>\n);\n", "b int,", "b int"),
        ("go", 'package a\n\nvar xs = []string{\n\t"a",\n\t<caret>\n}\n', '"b",', '"b",'),
        ("java", "f(\n    a,\n    <caret>\n);\n", "b,", "b"),
        ("c", "f(\n    a,\n    <caret>\n);\n", "b,", "b"),
        ("c", "int xs[] = {\n    1,\n    <caret>\n};\n", "2,", "2,"),
        ("python", "f(\n    a,\n    <caret>\n)\n", "b,", "b,"),
        ("jsonc", '[\n  "a",\n  <caret>\n]\n', '"b",', '"b",'),
        ("json", '[\n  "a",\n  <caret>\n  "c"\n]\n', '"b",', '"b",'),
    ],
)
def test_a_comma_ends_a_list_only_where_the_language_allows_it(
    language: str, text: str, raw: str, expected: str
) -> None:
    check(language, text, raw, expected)
