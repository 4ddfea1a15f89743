"""What is shown fits where the cursor is: it stops in time, repeats nothing, and is the same while typed through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.editor import brackets
from lsp_server.shaping import postprocess, suggestion
from lsp_server.shaping.suggestion import Nothing, Suggestion, shape
from lsp_server.shaping.truncation import Plan, plan
from tests.caret import CARET, framed

MOST = 10


def shown(text: str, raw: str, finish: str | None = "end") -> str | None:
    """What is shown at the caret when the model wrote `raw`; None for nothing."""
    one = framed(text)
    found = shape(raw, finish, one, plan(one, MOST))
    return found.text if isinstance(found, Suggestion) else None


def check(text: str, raw: str, expected: str | None, finish: str | None = "end") -> None:
    assert shown(text, raw, finish) == expected


# How much is wanted


@pytest.mark.parametrize(
    "text",
    [
        "def f(a):\n    <caret>",
        "def f(a):\n    <caret>\n\n\nother()\n",
        "def f(a):<caret>\n",
        "if x {\n    <caret>\n}\n",
        "fn main() {<caret>\n",
        "x = [\n    <caret>\n]\n",
        "call(\n    <caret>\n)\n",
        "const f = () => {\n  <caret>\n}\n",
        "if (x) {<caret>}\n",
        "items = [\n    1,\n]\ncall(\n    <caret>\n)\n",
        'def f():\n    """<caret>\n',
    ],
)
def test_a_block_is_wanted_where_one_was_opened(text: str) -> None:
    assert plan(framed(text), MOST).floor is not None


@pytest.mark.parametrize(
    "text",
    [
        "x = <caret>\n",
        "def f(<caret>):\n    pass\n",
        "def f(a):\n    <caret>\n    return a\n",
        "call(<caret>",
        "d = {'a':<caret>}\n",
        "x = y[1:<caret>",
        "a = 1\n<caret>\n",
        "def f():  # returns: <caret>\n",
        "# for each of these:\n<caret>\n",
        'def f():\n    """The sum of:\n    <caret>\n    """\n',
        "x = '{<caret>'\n",
    ],
)
def test_elsewhere_the_rest_of_the_line_is_wanted(text: str) -> None:
    assert plan(framed(text), MOST) == Plan(1)


def test_one_line_is_the_most_when_the_user_says_so() -> None:
    assert plan(framed("def f(a):\n    <caret>"), 1) == Plan(1)


# Where it stops


def test_the_rest_of_a_line_ends_with_the_line() -> None:
    check("x = <caret>\n", "y + 1\nz = 3\n", "y + 1")


def test_a_block_ends_where_its_indentation_ends() -> None:
    check("def f(a):\n    <caret>\n", "b = a\n    return b\n\n\ndef g():\n    pass", "b = a\n    return b")
    check("def f(a):<caret>\n", "\n    return a\n\nf(1)\n", "\n    return a")


def test_a_block_ends_with_its_bracket() -> None:
    check("if (x) {\n    <caret>\n", "y();\n}\nz();\n", "y();\n}")


def test_a_block_ends_behind_a_list_over_several_lines_whose_bracket_an_editor_puts_there() -> None:
    listed = "names = [\n        a,\n        f(b),\n    ]"
    check("def f():\n    <caret>\n", listed + "\n    return names\n", listed)
    inner = "g(a, [\n        b,\n    ], c)\n    return a"
    check("def f():\n    <caret>\n", inner, inner)


def test_a_bracket_that_is_there_is_not_written_again() -> None:
    check("if (x) {\n    <caret>\n}\n", "y();\n}\nz();\n", "y();")
    check("function f() {\n  <caret>\n}\n", "a();\n  b();\n}\n", "a();\n  b();")


def test_a_block_ends_at_a_blank_line_and_at_its_most_lines() -> None:
    check("x = [\n    <caret>\n", "1,\n\n    2,\n", "1,")
    check("def f():\n    <caret>\n", "a()\n\n    def g():\n        b()", "a()")
    long = "".join(f"    a{at}\n" for at in range(30))
    found = shown("def f():\n    <caret>\n", long[4:])
    assert found is not None
    assert found.count("\n") == MOST - 1


def test_a_blank_line_in_a_docstring_ends_nothing() -> None:
    text = '"""The sum.\n\n    Of both.\n    """\n    return a + b'
    check("def f(a, b):\n    <caret>\n", text + "\n\n    more()", text)


def test_a_block_never_ends_inside_a_bracket() -> None:
    check("def f():\n    <caret>\n", "a()\n    b(\n        c,\n", "a()", finish="length")
    long = "a()\n    b(\n" + "".join(f"        c{at},\n" for at in range(30))
    check("def f():\n    <caret>\n", long, "a()")


def test_a_line_said_three_times_is_said_once() -> None:
    check("def f():\n    <caret>\n", "a()\n    b()\n    b()\n    b()\n    b()", "a()\n    b()")


def test_a_block_ends_where_the_file_goes_on_the_same() -> None:
    check("x = {\n    <caret>\n\n\n    'b': 2,\n}\n", "'a': 1,\n    'b': 2,\n}", "'a': 1,")
    check("def f():\n    <caret>\n\ndef g():\n    pass\n", "a()\n\ndef g():\n    pass", "a()")


# What is not there yet


def test_a_line_half_written_shows_its_whole_words() -> None:
    one = framed("x = <caret>\n")
    assert shape("first + sec", None, one, Plan(1)) == Suggestion("first", whole=False)
    assert shape("first + second(", None, one, Plan(1)) == Suggestion("first + second", whole=False)
    assert shape("fir", None, one, Plan(1)) == Nothing("nothing to add", whole=False)
    assert shape("first + second\n", None, one, Plan(1)) == Suggestion("first + second", whole=True)


def test_a_block_half_written_shows_its_whole_lines() -> None:
    one = framed("def f():\n    <caret>\n")
    wanted = plan(one, MOST)
    assert shape("a = 1\n    retu", None, one, wanted) == Suggestion("a = 1", whole=False)
    assert shape("a = 1\n    return a\n", None, one, wanted) == Suggestion("a = 1\n    return a", whole=False)
    assert shape("a = 1\n    return a\nx", None, one, wanted) == Suggestion("a = 1\n    return a", whole=False)
    assert shape("a = 1\n    return a\nx\n", None, one, wanted) == Suggestion("a = 1\n    return a", whole=True)


def test_what_was_cut_short_shows_no_half_word() -> None:
    check("x = <caret>\n", "first + sec", "first", finish="length")
    check("def f():\n    <caret>\n", "a = 1\n    retu", "a = 1", finish="deadline")


# What meets the text right of the cursor


def test_an_escaped_quote_is_not_the_editors() -> None:
    assert suggestion.rest("'", ")", 0, framed("f('\\<caret>')")) == Suggestion("'", whole=True)


@pytest.mark.parametrize(
    ("text", "raw", "expected"),
    [
        ("call(<caret>)", "a, b)", "a, b"),
        ("call(<caret>)", "other(a))", "other(a)"),
        ("call(<caret>)", "other(a)", "other(a)"),
        ("x = [<caret>]", "1, 2]", "1, 2"),
        ("x = {'a': <caret>}", "[1, {}]}", "[1, {}]"),
        ("def f(<caret>):", "a, b):\n    return a", "a, b"),
        ('x = "<caret>"', 'hello"', "hello"),
        ('call("<caret>")', 'hello")', "hello"),
        ('"""\nOther than (its ``<caret>)', "1``)", "1``"),
        ('x = "<caret>"', 'say \\"hi\\""', 'say \\"hi\\"'),
        ('"""<caret>"""', 'The sum."""', "The sum."),
        ("x = '<caret>'", "it\"s'", 'it"s'),
        ("call(<caret>)", '")")', '")"'),
        ("x = a<caret> + b\n", " * c + b", " * c"),
        ("f(a<caret>, b)", ", c, b)", ", c"),
        ("call(<caret>, b)", "a, b)", "a"),
        ("[<caret>, b]", "a,", "a"),
        ("call(<caret>);", "a);", "a"),
        ("f'{<caret>}'", "name}'", "name"),
        ("# don't <caret>", "do it)", "do it"),
        ('x = `${call("<caret>")}`', 'value")}', "value"),
        ('x = "<caret>"', "a\\\\n\\", "a\\\\n"),
    ],
)
def test_what_stands_right_of_the_cursor_is_not_written_again(text: str, raw: str, expected: str) -> None:
    check(text, raw, expected)


@pytest.mark.parametrize(
    ("text", "raw", "expected", "replaces"),
    [
        ("call(<caret>)", "a) + call(b)", "a) + call(b)", 1),
        ("call(other(<caret>))", "a)) + 1", "a)) + 1", 2),
        ('call("<caret>")', 'a", b)', 'a", b', 1),
        ("call(<caret>);", "a).then(b);", "a).then(b)", 1),
        ("f'a ({<caret>}'", "name}): {other}'", "name}): {other}", 1),
        ("f'a ({<caret>} b'", "name}): {other}'", "name", 0),
        ("call(<caret>) + d", "a) + d", "a", 0),
        ('"""\n`name="<caret>"\n"""', 'value"`', 'value"`', 1),
        ('x = r"a(<caret>)', 'b)(c)"', 'b)(c)"', 1),
        ('x = r"a(<caret>)"', "b)", "b", 0),
    ],
)
def test_a_text_that_goes_on_behind_the_editors_closers_replaces_them(
    text: str, raw: str, expected: str, replaces: int
) -> None:
    one = framed(text)
    assert shape(raw, "end", one, plan(one, MOST)) == Suggestion(expected, whole=True, replaces=replaces)


@pytest.mark.parametrize(
    ("text", "raw", "expected"),
    [
        ("check(<caret>)", "a.size() > 1 &&", "a.size() > 1"),
        ("check(<caret>)", "a + 1, b,", "a + 1, b"),
        ("check(a<caret>)", ",", None),
        ("check(<caret>)", "a ==", "a"),
        ("check(<caret>)", "i++", "i++"),
        ("check(<caret>)", "a,)", "a,"),
        ("check('<caret>)", "a,", "a,"),
    ],
)
def test_no_comma_or_operator_is_left_before_a_closer(text: str, raw: str, expected: str | None) -> None:
    check(text, raw, expected)


def test_a_block_that_was_wanted_ends_with_its_line_beside_a_closer_that_came() -> None:
    one = framed("if last != '<caret>'\n")
    assert shape("/' {\n        return\n    }", "end", one, Plan(MOST, 0)) == Suggestion("/", whole=True)


def test_a_text_that_is_cut_short_replaces_no_closer() -> None:
    check("call(<caret>)", "a) + call(b", "a", finish="length")


@pytest.mark.parametrize(
    ("text", "raw", "expected"),
    [
        ("f(a<caret>, b)", ",c , b )", ",c"),
        ('f(a<caret>, "some text")', ", 1, 'some text')", ", 1"),
        ("total = first<caret> + second.value * third\n", " * 2 + second.values * third", " * 2"),
        ("total = first<caret> + b\n", " * c - b", " * c - b"),
    ],
)
def test_what_stands_right_of_the_cursor_but_for_its_spelling_is_not_written_again(
    text: str, raw: str, expected: str
) -> None:
    check(text, raw, expected)


def test_lines_that_stand_below_are_not_written_again() -> None:
    below = "\n    self.width = width\n    self.height = height\n"
    check(f"def f():\n    <caret>{below}", "self.width = width\n    self.height = height\n", None)
    text = "def f(self):\n    <caret>\n\nself.number_of_widths = widths\nself.number_of_heights = heights\n"
    raw = "a()\n    self.number_of_widths = width\n    self.number_of_heights = height\n"
    check(text, raw, "a()")
    check("x = {\n    <caret>\n\n\n    'b': 2\n}\n", "'a': 1,\n    \"b\": 2,\n}", "'a': 1,")


@pytest.mark.parametrize(
    ("text", "raw", "expected"),
    [
        ("if (a) {\n  b(c<caret>\n}\n", ".d))", ".d)"),
        ("if (a) {\n  b.c<caret>\n}\n", "(d)))", "(d)"),
        ("call(\n    a,\n    <caret>\n)\n", "b)", "b"),
        ("call(\n    a,\n    <caret>\n", "b)", "b)"),
        ("x = [\n    1,\n    <caret>\n", "2)", "2"),
        ("f(<caret>))\n", "1, 4 },", "1, 4"),
        ("x = 1\n<caret>\n", "y)", "y"),
        ("x = ')'\ny = <caret>\n", "f(')')", "f(')')"),
        ("# (\ny = <caret>\n", "f())", "f()"),
        (
            "fn f() {\n    <caret>\n}\n",
            "match b {\n        c => d,\n    }\n}",
            "match b {\n        c => d,\n    }",
        ),
        ("call(\n    other(<caret>\n)\n", "a))", "a)"),
        ('def f():\n    """The sum of all <caret>\n    """\n', "the words)", "the words"),
        ('def f():\n    """The sum (of all <caret>\n    """\n', "the words)", "the words)"),
        ("x = {\n    'a': 1,  # of all <caret>\n}\n", "the words}", "the words"),
        ("f'{a.split(\"<caret>'\n", ',")])', ',")'),
        ("f'{a.split(\"<caret>'\n", ',")[0]}', ',")[0]}'),
    ],
)
def test_a_closer_that_closes_nothing_is_left_out(text: str, raw: str, expected: str) -> None:
    check(text, raw, expected)


def test_a_window_that_begins_in_a_docstring_is_read_as_code_from_its_end_on() -> None:
    long = "".join(f"    Word {at} of it, which doesn't end.\n" for at in range(120))
    text = f'def f():\n    """The sum.\n\n{long}    """\n    call(\n        a,\n        <caret>\n    )\n'
    assert framed(text).anchor.start.line > 0
    check(text, "b)", "b")
    assert brackets.within(framed(text).code, "python") == "code"


def test_a_line_that_opens_a_bracket_where_no_more_lines_are_wanted_ends_before_it() -> None:
    check("if (a(<caret>))\n", "b)) {", "b")
    check("call(<caret>)\n", "a, other(", "a, other")


def test_a_docstring_that_is_cut_short_is_ended() -> None:
    text = "def f():\n    <caret>\n\ng = 1\n"
    check(text, '"""The sum.\n\n    Of two', '"""The sum."""', finish="length")
    check(text, '"""The sum.\n\n    Of two\n    and three', '"""The sum.\n\n    Of two\n    """', finish="length")
    check(text, '"""The sum.\n\n    Of two', None, finish=None)


@pytest.mark.parametrize(
    ("text", "raw", "expected"),
    [
        ('def f():\n    "<caret>"\n\ng = 1\n', '""The sum.', '""The sum."""'),
        ("def f():\n    <caret>\n    g = 1\n", '"""The sum.', '"""The sum."""'),
        ("def f():\n    <caret>\n    g = 1\n", '"""The sum."""', '"""The sum."""'),
        ('def f():\n    "<caret>"\n\ng = 1\n', '""', None),
        ("def f():\n    x = <caret>\n    g = 1\n", 'f("""', 'f("""'),
        ('def f():\n    """The sum<caret>\n    """\n', " of all", " of all"),
    ],
)
def test_a_docstring_on_one_line_is_ended_there(text: str, raw: str, expected: str | None) -> None:
    check(text, raw, expected)


def test_a_closer_behind_code_that_nothing_in_sight_opened_is_left_out_far_down_a_file() -> None:
    above = "class A:\n" + "    value = compute(1)\n" * 300
    assert framed(above + "    if a and s<caret>\n").anchor.start.line > 0
    check(above + "    if a and s<caret>\n", "elf.host)", "elf.host")
    check(above + "    if a and s<caret>\n", "elf.host(b)", "elf.host(b)")
    check(above + "<caret>\n", "]", "]")


def test_a_closer_on_a_line_of_its_own_is_less_deep_than_what_it_closes() -> None:
    check("void f() {\n    g();\n    <caret>\n", "}", None)
    check("void f() {\n    g();\n<caret>\n", "}", "}")
    check("void f() {\n    <caret>\n", "}", "}")


def test_the_line_above_is_not_written_again() -> None:
    check("value = compute(1)\n<caret>\n", "value = compute(1)\n", None)
    check("a()\n<caret>\n", "a()\n", "a()")


def test_the_line_below_is_not_written_again() -> None:
    check("a = 1\n<caret>\nb = 2\n", "b = 2\n", None)
    check("a = 1\nb = <caret>\nb = 2\n", "2\n", None)
    check("    <caret>\n    return x\n", "return x", None)
    check("if a:\n    <caret>\nreturn x\n", "return x", None)
    check("self.width = width\n<caret>\nself.height = widths\n", "self.height = width\n", None)
    check('def f():\n    """\n    Of both.\n    <caret>\n    """\n    return 1\n', '"""\n', None)
    check("f(\n    a,\n    b\n<caret>\n)\n", ")\n", None)
    check("self.a = a\n<caret>\nself.c = c\n", "self.b = b\n", "self.b = b")


def test_the_line_below_is_not_written_again_before_the_editors_closer() -> None:
    check('f.debug(\n    .field(<caret>)\n    .field("one", one)\n', '"one", one)', None)
    check('f.debug(\n    .field(<caret>)\n    .field("one", one)\n', '"two", two)', '"two", two')


def test_a_space_that_is_there_is_not_written_again() -> None:
    check("return <caret>\n", " x", "x")
    check("return<caret>\n", " x", " x")
    check("    <caret>\n", "    x", "    x")


def test_blanks_are_never_shown() -> None:
    check("x = <caret>\n", "", None)
    check("x = <caret>\n", "  \t", None)
    check("x = 1<caret>\n", "\n", None)
    check("def f():\n    <caret>\n", "\n\n\n", None)
    check("x = <caret>\n", "y   ", "y")


def test_a_complete_line_is_given_as_the_reason() -> None:
    one = framed("x = 1<caret>\n")
    assert shape("\n", None, one, Plan(1)) == Nothing("the line is complete", whole=True)


@pytest.mark.parametrize(
    "marker", ["<|end|>", "<|prefix|>", "<|fim_middle|>", "<fim_suffix>", "<MID>", "<|endoftext|>", "<｜fim▁end｜>"]
)
def test_a_marker_is_never_shown(marker: str) -> None:
    check("x = <caret>\n", f"y{marker} + 1", "y", finish=None)
    check("x = <caret>\n", f"{marker}y", None, finish=None)
    check("def f():\n    <caret>\n", f"a()\n    b(){marker}c()", "a()\n    b()", finish=None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("b********(name)", "b"),
        ('"**********"', '"'),
        ("2 ** 3 ** 4", "2 ** 3 ** 4"),
        ("/**********/", "/**********/"),
        ("f(*a, **b)", "f(*a, **b)"),
    ],
)
def test_the_stars_of_a_secret_that_was_masked_are_never_shown(raw: str, expected: str) -> None:
    check("x = <caret>\n", raw, expected)


# What repeats itself


def test_lines_said_again_and_again_are_said_once() -> None:
    check("def f():\n    <caret>\n", "a()\n    b()\n" + "    a()\n    b()\n" * 3, "a()\n    b()")
    check("def f():\n    <caret>\n", "a()\n    b()\n    a()\n    c()\n", "a()\n    b()\n    a()\n    c()")


def test_words_said_again_and_again_are_said_once() -> None:
    check("x = <caret>\n", "first, " + "second, " * 6 + "third\n", "first, second")
    check("x = <caret>\n", "[0, 0, 0, 0, 0, 0, 0, 0]\n", "[0, 0, 0, 0, 0, 0, 0, 0]")
    check("x = <caret>\n", "'" + "-" * 40 + "'\n", "'" + "-" * 40 + "'")


# Spaces


def test_no_space_is_left_before_what_follows() -> None:
    check("call(<caret>)", "a ", "a")
    check("call(<caret> + b)", "a ", "a")
    check("x = <caret>y\n", "a + ", "a + ")


def test_the_space_before_a_closer_stays_as_the_text_has_it() -> None:
    check("let x = A {<caret>}", " b, c }", " b, c ")
    check("let x = A {<caret>}", " b, c}", " b, c")
    check("f(<caret>)", " b )", " b ")
    check("f(<caret>)", "b, c", "b, c")


def test_a_line_is_not_indented_deeper_than_the_one_above() -> None:
    check("a = 1\n    b = 2\n    <caret>\n", "    c = 3", "c = 3")
    check("if a:\n<caret>\n", "    c = 3", "    c = 3")
    check("if a:\n    <caret>\n", "    c = 3", "c = 3")
    check("f(\n    a,\n    <caret>\n)\n", "    b=c,", "b=c,")
    check("x = f(a,\n<caret>\n", "      b)", "      b)")


# Indentation


def test_a_file_of_tabs_stays_one() -> None:
    check("if x {\n\ty()\n}\nif z {\n\t<caret>\n", "a()\n    b()\n", "a()\n\tb()")
    check("\tif x {\n\t\t<caret>\n", "if y {\n\t\t\ta()\n\t\t}\n", "if y {\n\t\t\ta()\n\t\t}")


def test_a_file_of_spaces_stays_one() -> None:
    check("def f():\n    a()\n    if b:\n        <caret>\n", "c()\n\t\td()\n", "c()\n        d()")


def test_a_file_indented_by_two_stays_so() -> None:
    text = "if (a) {\n  b();\n}\nif (c) {\n  <caret>\n}\n"
    check(text, "if (d) {\n      e();\n  }\n", "if (d) {\n    e();\n  }")
    check("if a:\n  b()\ndef f():<caret>\n", "\n    return 1\n", "\n  return 1")


def test_a_file_indented_by_four_stays_so() -> None:
    check("if a:\n    b()\ndef f():\n    <caret>\n", "if c:\n      d()\n", "if c:\n        d()")


def test_labels_half_a_step_deep_are_no_step_of_the_file() -> None:
    head = "class A\n{\n  public:\n    A();\n  private:\n"
    text = head + "    void f() {\n        g();\n    }\n    void h() {\n        <caret>\n"
    check(text, "if (b) {\n          g();\n        }\n", "if (b) {\n            g();\n        }")


# Between two braces


def test_a_block_between_the_editors_braces_keeps_the_closing_one() -> None:
    check("if (a) {\n  b();\n}\nif (c) {<caret>}\n", "\n  d();\n}\n", "\n  d();\n")
    check("  if (c) {<caret>}\n", "\n    d();\n  }\n", "\n    d();\n  ")


# Properties

LINES = st.lists(
    st.sampled_from(
        ["x = 1", "    y(a, b)", "\tz[0]", "}", ")", "", "  ", "'s'", 'f"{t}"', "if a {", "def g():", "<|end|>"]
    ),
    max_size=5,
).map("\n".join)
RAW = st.lists(
    st.sampled_from(
        ["a", "b(", ")", "]", "}", "\n", "\n    ", "\n\t", " ", ", ", "'", '"', "\\", ":", "<|end|>", "word", "é😀"]
    ),
    max_size=14,
).map("".join)
FINISH = st.sampled_from(["end", "stop", "length", "deadline", None])


@given(LINES, LINES, RAW, FINISH)
def test_nothing_odd_is_ever_shown(above: str, below: str, raw: str, finish: str | None) -> None:
    one = framed(above + CARET + below)
    found = shape(raw, finish, one, plan(one, MOST))
    if isinstance(found, Suggestion):
        assert found.text.strip()
        assert "<|end|>" not in found.text
        assert "\r" not in found.text
        assert found.text.count("\n") <= MOST
        there = one.right.strip()
        assert not there or "\n" not in found.text or one.left.endswith("{")
        assert len(there) < 2 or not found.text.endswith(there) or found.text.count("(") == found.text.count(")")


UNITS = st.sampled_from(["\t", "  ", "    "])
ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])
RIGHTS = st.sampled_from(["", ")", "]", '"', ")]", "})", ", b)", " + b", ");"])


def indented_by(unit: str, ending: str, right: str) -> str:
    """A document in that style, with the cursor two steps deep; characters of one to four bytes above it."""
    lines = ["# é 😀\u2028\f", "def f(a):", f"{unit}b = a", f"{unit}if b:", f"{unit}{unit}c('é', {CARET}{right}"]
    return ending.join([*lines, f"{unit}{unit}d = c", f"{unit}return d", ""])


@given(UNITS, ENDINGS, RIGHTS, RAW, FINISH)
def test_no_style_is_ever_mixed_and_no_closer_doubled(
    unit: str, ending: str, right: str, raw: str, finish: str | None
) -> None:
    text = indented_by(unit, ending, right)
    for place in (text, text.replace(f"c('é', {CARET}{right}", CARET), text.replace(f"if b:{ending}", f"if b:{CARET}")):
        if place.count(CARET) != 1:
            continue
        one = framed(place)
        found = shape(raw, finish, one, plan(one, MOST))
        if isinstance(found, Nothing):
            continue
        assert "\r" not in found.text
        for line in found.text.split("\n")[1:]:
            blank = line[: len(line) - len(line.lstrip(" \t"))]
            assert "\t" not in blank if unit != "\t" else "    " not in blank
        if not found.replaces and "\n" not in found.text:
            assert postprocess.before_closer(found.text, one) == found.text


@given(RIGHTS, RAW, st.integers(1, 12))
def test_what_is_typed_of_a_suggestion_leaves_the_rest_of_it(right: str, raw: str, typed: int) -> None:
    one = framed(f"c(a, {CARET}{right}\n")
    found = shape(raw, "end", one, plan(one, MOST))
    if isinstance(found, Nothing) or typed >= len(found.text):
        return
    later = replace(one, left=one.left + found.text[:typed], typed=one.typed + found.text[:typed])
    left = suggestion.rest(found.text[typed:], one.right, found.replaces, later)
    assert left == Suggestion(found.text[typed:], whole=True, replaces=found.replaces)
    closed = replace(later, right=")" + one.right, inserted=")" + one.inserted)
    left = suggestion.rest(found.text[typed:], one.right, found.replaces, closed)
    assert left is not None
    assert found.text[typed:].startswith(left.text.rstrip())
    assert suggestion.rest(found.text[typed:], one.right, found.replaces, replace(later, right="other")) is None


def test_braces_that_the_editor_has_put_below_one_by_one_are_left_out_of_what_is_left() -> None:
    text = "return it;\n        }\n    }"
    below = "for (;;) {\n    {\n        if (a) {\n            <caret>\n        }\n    }\n}\n"
    assert suggestion.rest(text, "", 0, framed(below)) == Suggestion("return it;", whole=True)
    one = "{\n        if (a) {\n            <caret>\n    }\n"
    assert suggestion.rest(text, "", 0, framed(one)) == Suggestion("return it;\n        }", whole=True)
    more = text + "\n    g();"
    assert suggestion.rest(more, "", 0, framed(one)) == Suggestion("return it;\n        }", whole=True)
    none = "{\n        if (a) {\n            <caret>\n"
    assert suggestion.rest(text, "", 0, framed(none)) == Suggestion(text, whole=True)


@pytest.mark.parametrize("end", ['"', '")'])
def test_a_string_that_goes_on_in_another_one_stays_when_the_editor_inserts_a_quote(end: str) -> None:
    text = 'one\\n" +\n        "two'
    found = suggestion.rest(text + end, "", 0, framed('f() {\n    log("<caret>")\n}\n'))
    assert found == Suggestion(text, whole=True)


def test_a_list_that_is_not_at_its_end_stays_when_the_editor_inserts_a_closer() -> None:
    left = suggestion.rest("left, right,", "", 0, framed("call(<caret>)\n"))
    assert left == Suggestion("left, right,", whole=True)


@given(st.lists(st.sampled_from(["(", ")", "[", "]", "'", '"', "a", " ", "\\", "\n", "é"]), max_size=12).map("".join))
def test_what_is_balanced_opens_nothing_that_it_does_not_close(text: str) -> None:
    part = brackets.balanced(text)
    assert text.startswith(part)
    assert brackets.depth(part) == 0
    assert brackets.balanced(part) == part
    assert brackets.depth(text + brackets.unclosed(text)) == 0 or brackets.open_quote(text) is not None
