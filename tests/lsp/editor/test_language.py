"""Every editor's name for a language is known, and a comment is told from code in each."""

from __future__ import annotations

import pytest

from lsp_server.completion import trigger
from lsp_server.completion.trigger import Skip
from lsp_server.editor import brackets
from lsp_server.editor.document import Place, split
from lsp_server.editor.language import language_at
from lsp_server.editor.options import Settings
from lsp_server.editor.session import Snapshot
from retrieval import languages
from tests.caret import CARET

# The ids that an editor sends, with our name behind a colon where it is another
IDS = {
    "VS Code": """bat:batch bibtex:latex c clojure coffeescript cpp csharp css cuda-cpp:cpp dart diff dockercompose:yaml
        dockerfile elixir erlang fsharp git-commit:gitcommit git-rebase:gitcommit go go.mod:go go.work:go groovy
        haml:? handlebars haskell hlsl html ini jade:pug java javascript javascriptreact:javascript json jsonc
        jsonl:json julia latex less lua makefile:make markdown objective-c objective-cpp:objective-c ocaml
        pascal perl perl6:raku php plaintext:text powershell properties prompt:? pug python r razor:?
        restructuredtext ruby rust sass scss shaderlab:hlsl shellscript:bash slim:? sql stylus svelte swift
        terraform:hcl tex:latex toml tsx typescript typescriptreact:tsx typst vb verilog systemverilog:verilog
        vhdl vue xml xsl:xml yaml zig nix nim dotenv:dotenv graphql proto3:protobuf proto:protobuf solidity wgsl
        gdscript kotlin scala d crystal prisma:? bazel:starlark starlark just cmake
        asm-intel-x86-generic:assembly jinja jinja-html:jinja django-html:html elm purescript rescript reason
        reasonml:reason commonlisp:lisp racket scheme coq lean4:lean powerquery:? rego jsonnet hcl opentofu:hcl
        github-actions-workflow:yaml azure-pipelines:yaml helm:yaml java-properties:properties ignore:?
        fortran-modern:fortran FortranFreeForm:fortran COBOL:cobol ada matlab""",
    "Neovim": """cs:csharp sh:bash zsh:bash bash csh:bash typescript.tsx:tsx javascript.jsx:javascript
        typescriptreact:tsx javascriptreact:javascript cpp c objc:objective-c objcpp:objective-c python lua vim
        go gomod:go gowork:go rust make cmake dosini:ini jproperties:properties gitcommit gitrebase:gitcommit
        gitconfig:ini asm:assembly nasm:assembly masm:assembly lisp clojure scheme racket fennel haskell
        lhaskell:haskell ocaml fsharp erlang elixir eelixir:erb heex:erb eruby:erb ruby perl raku r rmd:markdown
        julia matlab octave:matlab tex:latex plaintex:latex bib:latex rst:restructuredtext markdown asciidoc org
        typst html htmldjango:html xml xslt:xml css scss sass less svelte vue astro pug json json5:jsonc jsonc
        yaml yaml.ansible:yaml yaml.docker-compose:yaml toml terraform:hcl terraform-vars:hcl tf:hcl hcl nix
        dockerfile bzl:starlark just meson ninja gn sql mysql:sql plsql:sql graphql proto:protobuf thrift capnp
        verilog systemverilog:verilog vhdl ps1:powershell dosbatch:batch fish nu:nushell awk tcl swift kotlin
        scala sbt:scala groovy java dart zig nim crystal d v odin hare pascal ada fortran cobol basic:vb glsl
        hlsl wgsl gdscript solidity elm purescript idris agda lean coq dhall rego jsonnet llvm wat prolog diff
        text csv tsv:csv conf:ini env:dotenv dotenv template:? objectivec:objective-c opencl metal""",
    "Emacs": """python-mode:python python-ts-mode:python c-mode:c c++-mode:cpp c++-ts-mode:cpp csharp-mode:csharp
        csharp-ts-mode:csharp sh-mode:bash bash-ts-mode:bash emacs-lisp-mode:elisp lisp-mode:lisp
        clojure-mode:clojure scheme-mode:scheme racket-mode:racket js-mode:javascript js2-mode:javascript
        js-ts-mode:javascript rjsx-mode:javascript typescript-mode:typescript typescript-ts-mode:typescript
        tsx-ts-mode:tsx go-mode:go go-ts-mode:go rust-mode:rust rustic-mode:rust ruby-mode:ruby
        enh-ruby-mode:ruby perl-mode:perl cperl-mode:perl php-mode:php web-mode:html html-mode:html
        mhtml-mode:html nxml-mode:xml css-mode:css scss-mode:scss haskell-mode:haskell tuareg-mode:ocaml
        caml-mode:ocaml fsharp-mode:fsharp erlang-mode:erlang elixir-mode:elixir lua-mode:lua latex-mode:latex
        tex-mode:latex org-mode:org markdown-mode:markdown gfm-mode:markdown rst-mode:restructuredtext
        makefile-mode:make makefile-gmake-mode:make cmake-mode:cmake conf-mode:ini conf-unix-mode:ini
        conf-javaprop-mode:properties yaml-mode:yaml json-mode:json toml-mode:toml sql-mode:sql
        terraform-mode:hcl nix-mode:nix dockerfile-mode:dockerfile asm-mode:assembly nasm-mode:assembly
        fortran-mode:fortran f90-mode:fortran ada-mode:ada pascal-mode:pascal vhdl-mode:vhdl
        verilog-mode:verilog ess-r-mode:r julia-mode:julia octave-mode:matlab swift-mode:swift
        kotlin-mode:kotlin scala-mode:scala java-mode:java groovy-mode:groovy dart-mode:dart zig-mode:zig
        nim-mode:nim crystal-mode:crystal d-mode:d powershell-mode:powershell bat-mode:batch fish-mode:fish
        tcl-mode:tcl awk-mode:awk vimrc-mode:vim git-commit-mode:gitcommit git-rebase-mode:gitcommit
        gitconfig-mode:ini fundamental-mode:text text-mode:text""",
    "Helix": """c-sharp:csharp cpp c python javascript jsx:javascript typescript tsx rust go gomod:go gowork:go java
        kotlin scala ruby php lua bash fish nu:nushell elixir erlang heex:erb eex:erb ejs:erb haskell
        haskell-literate:haskell ocaml ocaml-interface:ocaml clojure common-lisp:lisp scheme racket julia r nix
        hcl tfvars:hcl dockerfile docker-compose:yaml make cmake meson ninja just starlark markdown latex
        bibtex:latex typst html xml css scss sass less vue svelte astro json jsonc json5:jsonc yaml toml ini
        properties env:dotenv git-commit:gitcommit git-rebase:gitcommit git-config:ini git-attributes:ini diff
        sql graphql protobuf thrift capnp zig nim crystal d v odin hare pascal ada fortran verilog vhdl glsl
        hlsl wgsl gdscript solidity elm purescript rescript gleam:? swift dart powershell awk tcl vim elisp
        asm:assembly nasm:assembly llvm wat prolog coq lean agda idris dhall rego jsonnet handlebars jinja erb
        pug org rst:restructuredtext perl groovy fsharp objective-c:objective-c opencl""",
    "Zed": """C C++:cpp C#:csharp CSS Dart Diff Dockerfile Elixir HEEX:erb Elm Erlang Go Go+Mod:go Go+Work:go
        Git+Commit:gitcommit Haskell HTML+ERB:erb HTML Java JavaScript JSDoc:? JSON JSONC Julia Kotlin Lua
        Makefile:make Markdown Nix OCaml OCaml+Interface:ocaml PHP Plain+Text:text PowerShell Prisma:?
        Proto:protobuf PureScript Python R Ruby Rust Scala SCSS Shell+Script:bash SQL Svelte Swift Terraform:hcl
        Terraform+Vars:hcl TOML TSX TypeScript Vue.js:vue YAML Zig Nim Fish""",
    "JetBrains": """JAVA:java Kotlin:kotlin Python Go:go Rust:rust ruby PHP JavaScript TypeScript TypeScript+JSX:tsx
        ECMAScript+6:? C#:csharp F#:fsharp ObjectiveC:objective-c Shell+Script:bash SQL XML HTML CSS SCSS SASS
        LESS Stylus JSON JSON5:jsonc yaml TOML Properties Markdown Dockerfile HCL:hcl HCL-Terraform:? Groovy
        Scala Dart Vue Svelte PowerShell Protobuf:protobuf TEXT:text GoTemplate:? RegExp:? Makefile:make CMake
        Lua Perl5:perl R Haskell Elixir Erlang Clojure Nix Zig""",
}
ROWS = [
    (editor, one.rpartition(":")[0] or one, (one.rpartition(":")[2] if ":" in one else one).lower())
    for editor, ids in IDS.items()
    for one in ids.split()
    if not one.endswith(":?")
]


@pytest.mark.parametrize("editor", IDS)
def test_what_an_editor_calls_a_language_is_known(editor: str) -> None:
    wrong = []
    for where, said, name in ROWS:
        found = languages.named(said.replace("+", " ") if editor in ("Zed", "JetBrains") and "++" not in said else said)
        if where == editor and (found is None or found.name != name):
            wrong.append((said, name, found and found.name))
    assert not wrong


@pytest.mark.parametrize(
    ("identifier", "path", "first", "name"),
    [
        ("python", "a.js", "", "python"),
        ("nobody-knows", "a.rs", "", "rust"),
        ("plaintext", "a.rs", "", "rust"),
        ("", "tool", "#!/usr/bin/env -S python3 -u\n", "python"),
        ("unknown", "tool", "#!/bin/zsh\n", "bash"),
        ("unknown", "thing.unknown", "words\n", "text"),
        ("plaintext", "notes.txt", "", "text"),
    ],
)
def test_the_id_comes_first_then_the_name_then_the_first_line(
    identifier: str, path: str, first: str, name: str
) -> None:
    assert languages.resolve(identifier, path, first).name == name


def snapshot(text: str, language: str, path: str = "a") -> Snapshot:
    before, after = text.split(CARET)
    lines = tuple(split(before + after))
    above = split(before)
    cursor = Place(len(above) - 1, len(above[-1]))
    return Snapshot("file:///a", None, path, language, 1, lines, cursor, settings=Settings(comments=False))


COMMENTS = [
    ("cs", "int x = 1; // the sum"),
    ("c_sharp", "/* the sum"),
    ("zsh", "x=1 # the sum"),
    ("typescript.tsx", "const x = 1 // the sum"),
    ("commonlisp", "(f x) ; the sum"),
    ("asm", "mov ax, bx ; the sum"),
    ("nasm", "; the sum"),
    ("properties", "# the sum"),
    ("java-properties", "! the sum"),
    ("gitcommit", "Add a sum\n\n# the sum"),
    ("git-commit", "# the sum"),
    ("vim", '" the sum'),
    ("vim", 'set number " the sum'),
    ("haskell", "x = 1 -- the sum"),
    ("haskell", "--- the sum"),
    ("dosini", "; the sum"),
    ("ini", "# the sum"),
    ("ini", "a = b ; the sum"),
    ("latex", "a % the sum"),
    ("php", "# the sum"),
    ("terraform", "// the sum"),
    ("yaml", "a: b # the sum"),
    ("makefile", "x = 1 # the sum"),
    ("vue", "<template>\n</template>\n<script>\nconst x = 1 // the sum"),
    ("vue", '<script setup lang="ts">\n/* the sum'),
    ("vue", "<script>\n</script>\n<!-- the sum"),
    ("svelte", '<script lang="ts">\nlet x = 1 // the sum'),
    ("svelte", "<style>\n/* the sum"),
    ("html", '<p>it\'s</p>\n<script type="module">\n// the sum'),
    ("astro", "---\nconst x = 1 // the sum"),
    ("bat", "REM the sum"),
    ("dosbatch", ":: the sum"),
    ("emacs-lisp-mode", "; the sum"),
    ("C++", "// the sum"),
    ("F#", "let x = 1 // the sum"),
    ("nushell", "let x = 1 # the sum"),
    ("perl5", "my $x; # the sum"),
    ("clojurescript", "(f) ; the sum"),
    ("elm", "x = 1 -- the sum"),
    ("systemverilog", "wire a; // the sum"),
    ("tfvars", "a = 1 # the sum"),
    ("heex", "<%# the sum"),
    ("vbnet", "Dim x ' the sum"),
    ("restructuredtext", ".. the sum"),
]
CODE = [
    ("bash", "if [ $# -gt 1 ]; then x="),
    ("zsh", "x=${#items}; y="),
    ("sh", "curl http://a#b -o "),
    ("yaml", "url: http://a#b"),
    ("yaml", "color: a#b"),
    ("latex", "50\\% of "),
    ("tex", "a \\% b "),
    ("haskell", "a --> b"),
    ("haskell", "f x |-- y"),
    ("haskell", "a <-- b"),
    ("elm", "a --> b"),
    ("ini", "a = b;c"),
    ("dosini", "a = b#c"),
    ("vim", 'let x = "x" . '),
    ("vim", 'echo "x" '),
    ("vim", 'call f("a", '),
    ("perl", "my $last = $#items + "),
    ("makefile", "x = \\# "),
    ("properties", "a = b # c"),
    ("properties", "a=b!c"),
    ("typescript", "fetch(http://a + "),
    ("php", "#[Route]\nfunction "),
    ("erlang", "X = $%, Y = "),
    ("commonlisp", "(char= c #\\; "),
    ("clojure", "(= c \\; "),
    ("vue", "<script>\n// the sum\nconst x = "),
    ("vue", '<template>\n<a href="http://a">'),
    ("svelte", "<script>\nlet x = a</script>\n<p>"),
    ("html", "<a href=http://a>"),
    ("gitcommit", "Mend #12 "),
    ("restructuredtext", "and so on .. "),
    ("dockerfile", "RUN echo a#b "),
    ("toml", "a = b#c"),
    ("fish", "count $argv#x "),
    ("nix", "x = a#b"),
    ("agda", "a --> b"),
    ("batch", "echo rem"),
]


@pytest.mark.parametrize(("language", "text"), COMMENTS)
def test_a_comment_is_one_whatever_the_language_is_called(language: str, text: str) -> None:
    assert trigger.decide(snapshot(text + CARET, language)) == Skip("off in comments")


@pytest.mark.parametrize(("language", "text"), CODE)
def test_code_is_no_comment(language: str, text: str) -> None:
    found = snapshot(text + CARET, language)
    assert trigger.decide(found) != Skip("off in comments")
    assert brackets.within(text, language_at(found)) != "comment"
