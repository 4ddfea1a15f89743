"""The scopes around a caret, and the signatures of what they hold, in every full-context language."""

from __future__ import annotations

from textwrap import dedent

import pytest

from retrieval import languages
from retrieval.search import search
from retrieval.syntax import outlines, signatures
from tests.retrieval.checking import CARET

# language: a text with a caret, the scopes around it, and what `Box` looks like to others
FIXTURES: dict[str, tuple[str, list[str], str]] = {
    "python": (
        """
        class Box(Base):
            \"\"\"Holds.\"\"\"
            def open(self, how: str) -> int:
                if how:
                    ▮
                    return 1
        """,
        ["Box", "Box.open"],
        'class Box(Base):\n    """Holds."""\n    def open(self, how: str) -> int:\n',
    ),
    "javascript": (
        """
        // Holds.
        class Box extends Base {
          open(how) {
            if (how) {
              ▮
            }
          }
        }
        """,
        ["Box", "Box.open"],
        "// Holds.\nclass Box extends Base\n    open(how)\n",
    ),
    "typescript": (
        """
        /** Holds. */
        export class Box<T> {
          private lid: T;
          open(how: string): number {
            ▮
          }
        }
        """,
        ["Box", "Box.open"],
        "// Holds.\nclass Box<T>\n    private lid: T\n    open(how: string): number\n",
    ),
    "tsx": (
        """
        export const Box = (props: Props) => {
          ▮
          return <div>{props.lid}</div>;
        };
        """,
        ["Box"],
        "Box = (props: Props) =>\n",
    ),
    "go": (
        """
        package store
        // Box holds.
        type Box struct {
        \tLid string
        }
        func (b *Box) Open(how string) (int, error) {
        \t▮
        \treturn 0, nil
        }
        """,
        ["Box.Open"],
        "// Box holds.\ntype Box struct\n    Lid string\n    func (b *Box) Open(how string) (int, error)\n",
    ),
    "rust": (
        """
        /// Holds.
        #[derive(Debug)]
        pub struct Box { lid: String }
        impl Box {
            pub fn open(&self, how: &str) -> u32 {
                ▮
                0
            }
        }
        """,
        ["Box.open"],
        "// Holds.\npub struct Box\n    lid: String\n    pub fn open(&self, how: &str) -> u32\n",
    ),
    "java": (
        """
        package a.b;
        /** Holds. */
        public class Box extends Base {
          public int open(String how) {
            ▮
            return 0;
          }
        }
        """,
        ["Box", "Box.open"],
        "// Holds.\npublic class Box extends Base\n    public int open(String how)\n",
    ),
    "c": (
        """
        /* Holds. */
        struct Box { int lid; };
        int box_open(struct Box *box, const char *how) {
          ▮
          return 0;
        }
        """,
        ["box_open"],
        "// Holds.\nstruct Box\n    int lid\n",
    ),
    "cpp": (
        """
        // Holds.
        class Box : public Base {
         public:
          int open(const std::string &how) {
            ▮
            return 0;
          }
        };
        """,
        ["Box", "Box.open"],
        "// Holds.\nclass Box : public Base\n    int open(const std::string &how)\n",
    ),
    "csharp": (
        """
        namespace Shop {
          /// <summary>Holds.</summary>
          public class Box : Base {
            public int Open(string how) {
              ▮
              return 0;
            }
          }
        }
        """,
        ["Box", "Box.Open"],
        "// Holds.\npublic class Box : Base\n    public int Open(string how)\n",
    ),
    "ruby": (
        """
        # Holds.
        class Box < Base
          def open(how)
            ▮
            how
          end
        end
        """,
        ["Box", "Box.open"],
        "# Holds.\nclass Box < Base\n    def open(how)\n",
    ),
    "php": (
        """
        <?php
        /** Holds. */
        class Box extends Base {
          public function open(string $how): int {
            ▮
            return 0;
          }
        }
        """,
        ["Box", "Box.open"],
        "// Holds.\nclass Box extends Base\n    public function open(string $how): int\n",
    ),
    "kotlin": (
        """
        package a.b
        /** Holds. */
        class Box(val lid: String) : Base() {
            fun open(how: String): Int {
                ▮
                return 0
            }
        }
        """,
        ["Box", "Box.open"],
        "// Holds.\nclass Box(val lid: String) : Base()\n    val lid: String\n    fun open(how: String): Int\n",
    ),
    "scala": (
        """
        package a.b
        /** Holds. */
        class Box(lid: String) extends Base {
          def open(how: String): Int = {
            ▮
            0
          }
        }
        """,
        ["Box", "Box.open"],
        "// Holds.\nclass Box(lid: String) extends Base\n    def open(how: String): Int\n",
    ),
    "lua": (
        """
        -- Holds.
        function Box(how)
          local x = how
          ▮
          return x
        end
        """,
        ["Box"],
        "-- Holds.\nfunction Box(how)\n",
    ),
    "bash": (
        """
        # Holds.
        Box() {
          local how=$1
          ▮
          echo "$how"
        }
        """,
        ["Box"],
        "# Holds.\nBox()\n",
    ),
}


def test_every_full_context_language_has_a_fixture() -> None:
    assert set(FIXTURES) == {one.name for one in languages.LANGUAGES.values() if one.full}


@pytest.mark.parametrize("name", FIXTURES)
def test_the_scopes_around_a_caret_are_told(name: str) -> None:
    text, expected, _ = FIXTURES[name]
    text = dedent(text).lstrip("\n")
    line = text[: text.index(CARET)].count("\n")
    outline = outlines.read(text.replace(CARET, ""), languages.LANGUAGES[name])
    assert [one.path for one in outlines.enclosing(outline, line)] == expected


@pytest.mark.parametrize("name", FIXTURES)
def test_what_others_need_to_know_is_signature_docstring_line_and_members(name: str) -> None:
    text, _, expected = FIXTURES[name]
    language = languages.LANGUAGES[name]
    outline = outlines.read(dedent(text).replace(CARET, ""), language)
    box = next(one for one in outline.definitions if one.name == "Box" and one.kind != "method")
    assert signatures.text(box, outline.definitions, language) == expected


@pytest.mark.parametrize("name", FIXTURES)
def test_the_scope_key_names_the_innermost_head_without_a_parse(name: str) -> None:
    text, scopes, _ = FIXTURES[name]
    text = dedent(text).lstrip("\n")
    key = search.scope(text.replace(CARET, ""), text.index(CARET))
    assert scopes[-1].rpartition(".")[2] in key.split("\n")[-1]
