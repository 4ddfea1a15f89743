"""A file's name in, its Language out: how comments look and which grammar reads it.

Recognises more than eighty languages by file name, extension or interpreter line; the fifteen
with `full` context have queries of their own under `queries/`. Ignores what stands in the file,
except for the first line of a script and for telling C from C++ in a header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from retrieval import language_ids


@dataclass(frozen=True, slots=True)
class Language:
    """One language. `grammar` is (wheel's module, its function) or None; `query` names queries/<query>.scm."""

    name: str
    line_comment: str | None
    block_comment: tuple[str, str] | None
    grammar: tuple[str, str] | None = None
    query: str | None = None

    @property
    def full(self) -> bool:
        """Whether definitions, imports and scopes are read with a query of our own."""
        return self.query is not None


_C = ("/*", "*/")
_HTML = ("<!--", "-->")
_ML = ("(*", "*)")

# name, line comment, block comment, extensions (with dots) and whole file names
_TABLE: tuple[tuple[str, str | None, tuple[str, str] | None, str], ...] = (
    ("python", "#", None, ".py .pyi .pyw .pyx SConstruct SConscript wscript"),
    ("javascript", "//", _C, ".js .mjs .cjs .jsx"),
    ("typescript", "//", _C, ".ts .mts .cts"),
    ("tsx", "//", _C, ".tsx"),
    ("go", "//", _C, ".go go.mod go.work"),
    ("rust", "//", _C, ".rs"),
    ("java", "//", _C, ".java"),
    ("c", "//", _C, ".c .h"),
    ("cpp", "//", _C, ".cc .cpp .cxx .c++ .hh .hpp .hxx .h++ .ipp .inl .tpp .ixx .cppm .cu .cuh"),
    ("csharp", "//", _C, ".cs .csx"),
    ("ruby", "#", ("=begin", "=end"), ".rb .rake .gemspec .ru Rakefile Gemfile Guardfile Vagrantfile Podfile Fastfile"),
    ("php", "//", _C, ".php .phtml .php5"),
    ("kotlin", "//", _C, ".kt .kts"),
    ("scala", "//", _C, ".scala .sc .sbt"),
    ("lua", "--", ("--[[", "]]"), ".lua .rockspec"),
    ("bash", "#", None, ".sh .bash .zsh .ksh .bats .bashrc .bash_profile .profile .zshrc .envrc PKGBUILD APKBUILD"),
    ("swift", "//", _C, ".swift"),
    ("dart", "//", _C, ".dart"),
    ("objective-c", "//", _C, ".m .mm"),
    ("groovy", "//", _C, ".groovy .gradle .gvy Jenkinsfile"),
    ("perl", "#", ("=pod", "=cut"), ".pl .pm .t .psgi cpanfile"),
    ("raku", "#", None, ".raku .rakumod .p6"),
    ("r", "#", None, ".r .R .Rprofile"),
    ("julia", "#", ("#=", "=#"), ".jl"),
    ("elixir", "#", None, ".ex .exs"),
    ("erlang", "%", None, ".erl .hrl rebar.config"),
    ("haskell", "--", ("{-", "-}"), ".hs .lhs .hsc"),
    ("ocaml", None, _ML, ".ml .mli .mll .mly"),
    ("fsharp", "//", _ML, ".fs .fsi .fsx"),
    ("clojure", ";", None, ".clj .cljs .cljc .edn"),
    ("lisp", ";", ("#|", "|#"), ".lisp .lsp .cl .asd"),
    ("elisp", ";", None, ".el .emacs"),
    ("scheme", ";", ("#|", "|#"), ".scm .ss .sld"),
    ("racket", ";", ("#|", "|#"), ".rkt"),
    ("fennel", ";", None, ".fnl"),
    ("zig", "//", None, ".zig .zon"),
    ("nim", "#", ("#[", "]#"), ".nim .nims .nimble"),
    ("crystal", "#", None, ".cr"),
    ("d", "//", _C, ".d .di"),
    ("v", "//", _C, ".vv .vsh"),
    ("odin", "//", _C, ".odin"),
    ("hare", "//", None, ".ha"),
    ("pascal", "//", ("{", "}"), ".pas .pp .dpr .lpr"),
    ("ada", "--", None, ".adb .ads"),
    ("fortran", "!", None, ".f .for .f90 .f95 .f03 .f08"),
    ("cobol", "*>", None, ".cob .cbl .cpy"),
    ("vb", "'", None, ".vb .vbs .bas"),
    ("powershell", "#", ("<#", "#>"), ".ps1 .psm1 .psd1"),
    ("batch", "REM", None, ".bat .cmd"),
    ("fish", "#", None, ".fish"),
    ("nushell", "#", None, ".nu"),
    ("awk", "#", None, ".awk"),
    ("tcl", "#", None, ".tcl"),
    ("vim", '"', None, ".vim .vimrc _vimrc"),
    ("sql", "--", _C, ".sql .ddl .dml .psql"),
    ("graphql", "#", None, ".graphql .gql"),
    ("protobuf", "//", _C, ".proto"),
    ("thrift", "//", _C, ".thrift"),
    ("capnp", "#", None, ".capnp"),
    ("html", None, _HTML, ".html .htm .xhtml"),
    ("xml", None, _HTML, ".xml .xsd .xsl .xslt .svg .plist .csproj .vbproj .props .targets .pom"),
    ("css", None, _C, ".css"),
    ("scss", "//", _C, ".scss"),
    ("sass", "//", None, ".sass"),
    ("less", "//", _C, ".less"),
    ("stylus", "//", _C, ".styl"),
    ("vue", None, _HTML, ".vue"),
    ("svelte", None, _HTML, ".svelte"),
    ("astro", None, _HTML, ".astro"),
    ("jinja", None, ("{#", "#}"), ".j2 .jinja .jinja2"),
    ("handlebars", None, ("{{!", "}}"), ".hbs .handlebars .mustache"),
    ("erb", None, ("<%#", "%>"), ".erb"),
    ("pug", "//", None, ".pug .jade"),
    ("liquid", None, ("{% comment %}", "{% endcomment %}"), ".liquid"),
    ("markdown", None, _HTML, ".md .markdown .mdx"),
    ("restructuredtext", "..", None, ".rst"),
    ("asciidoc", "//", None, ".adoc .asciidoc"),
    ("org", "#", None, ".org"),
    ("latex", "%", None, ".tex .sty .cls .bib"),
    ("typst", "//", _C, ".typ"),
    ("json", None, None, ".json .jsonl .geojson .webmanifest .ipynb .babelrc .prettierrc"),
    ("jsonc", "//", _C, ".jsonc .json5 .code-workspace tsconfig.json jsconfig.json"),
    ("yaml", "#", None, ".yaml .yml .clang-format .clang-tidy"),
    ("toml", "#", None, ".toml Cargo.lock poetry.lock uv.lock Pipfile"),
    ("ini", ";", None, ".ini .cfg .conf .editorconfig .gitconfig .npmrc .gitmodules"),
    ("properties", "#", None, ".properties"),
    ("gitcommit", "#", None, "COMMIT_EDITMSG MERGE_MSG TAG_EDITMSG git-rebase-todo"),
    ("dotenv", "#", None, ".env"),
    ("hcl", "#", _C, ".tf .tfvars .hcl"),
    ("nix", "#", _C, ".nix"),
    ("starlark", "#", None, ".bzl .bazel .star BUILD WORKSPACE Tiltfile"),
    ("dockerfile", "#", None, ".dockerfile Dockerfile Containerfile"),
    ("make", "#", None, ".mk .mak Makefile makefile GNUmakefile"),
    ("just", "#", None, ".just justfile Justfile"),
    ("cmake", "#", ("#[[", "]]"), ".cmake CMakeLists.txt"),
    ("meson", "#", None, "meson.build meson_options.txt meson.options"),
    ("ninja", "#", None, ".ninja"),
    ("gn", "#", None, ".gn .gni"),
    ("dhall", "--", ("{-", "-}"), ".dhall"),
    ("jsonnet", "//", _C, ".jsonnet .libsonnet"),
    ("rego", "#", None, ".rego"),
    ("solidity", "//", _C, ".sol"),
    ("move", "//", _C, ".move"),
    ("elm", "--", ("{-", "-}"), ".elm"),
    ("purescript", "--", ("{-", "-}"), ".purs"),
    ("rescript", "//", _C, ".res .resi"),
    ("reason", "//", _C, ".re .rei"),
    ("coffeescript", "#", ("###", "###"), ".coffee"),
    ("gdscript", "#", None, ".gd"),
    ("glsl", "//", _C, ".glsl .vert .frag .geom .comp .tesc .tese"),
    ("hlsl", "//", _C, ".hlsl .fx .fxh"),
    ("wgsl", "//", _C, ".wgsl"),
    ("metal", "//", _C, ".metal"),
    ("opencl", "//", _C, ".opencl"),
    ("verilog", "//", _C, ".v .vh .sv .svh"),
    ("vhdl", "--", None, ".vhd .vhdl"),
    ("assembly", ";", None, ".asm .s .S .nasm"),
    ("llvm", ";", None, ".ll"),
    ("wat", ";;", ("(;", ";)"), ".wat .wast"),
    ("prolog", "%", _C, ".pro .prolog"),
    ("lean", "--", ("/-", "-/"), ".lean"),
    ("coq", None, _ML, ".coq"),
    ("agda", "--", ("{-", "-}"), ".agda"),
    ("idris", "--", ("{-", "-}"), ".idr"),
    ("matlab", "%", ("%{", "%}"), ".matlab .mlx"),
    ("diff", None, None, ".diff .patch"),
    ("csv", None, None, ".csv .tsv"),
    ("text", None, None, ".txt .text LICENSE NOTICE README CHANGELOG AUTHORS"),
)

_GRAMMARS: dict[str, tuple[str, str, str]] = {  # language: (wheel's module, function in it, query file)
    "python": ("tree_sitter_python", "language", "python"),
    "javascript": ("tree_sitter_javascript", "language", "javascript"),
    "typescript": ("tree_sitter_typescript", "language_typescript", "typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx", "typescript"),
    "go": ("tree_sitter_go", "language", "go"),
    "rust": ("tree_sitter_rust", "language", "rust"),
    "java": ("tree_sitter_java", "language", "java"),
    "c": ("tree_sitter_c", "language", "c"),
    "cpp": ("tree_sitter_cpp", "language", "cpp"),
    "csharp": ("tree_sitter_c_sharp", "language", "csharp"),
    "ruby": ("tree_sitter_ruby", "language", "ruby"),
    "php": ("tree_sitter_php", "language_php", "php"),
    "kotlin": ("tree_sitter_kotlin", "language", "kotlin"),
    "scala": ("tree_sitter_scala", "language", "scala"),
    "lua": ("tree_sitter_lua", "language", "lua"),
    "bash": ("tree_sitter_bash", "language", "bash"),
}

_INTERPRETERS = {
    "python": "python",
    "node": "javascript",
    "deno": "typescript",
    "bun": "typescript",
    "ts-node": "typescript",
    "bash": "bash",
    "sh": "bash",
    "zsh": "bash",
    "dash": "bash",
    "ksh": "bash",
    "ruby": "ruby",
    "php": "php",
    "lua": "lua",
    "luajit": "lua",
    "perl": "perl",
    "fish": "fish",
    "awk": "awk",
    "tclsh": "tcl",
    "rscript": "r",
    "julia": "julia",
    "elixir": "elixir",
    "groovy": "groovy",
    "scala": "scala",
    "kotlin": "kotlin",
    "pwsh": "powershell",
    "make": "make",
}

_SHEBANG = re.compile(r"#!\s*(\S+)(?:[ \t]+(?:-\S+[ \t]+)*(\S+))?")
_CPP_ONLY = re.compile(
    r"^\s*(?:class\s+\w+|namespace\b|template\s*<|using\s+\w|public:|private:|#include\s*<\w+>)", re.MULTILINE
)


def _rows() -> dict[str, Language]:
    rows = {}
    for name, line, block, _ in _TABLE:
        grammar = _GRAMMARS.get(name)
        if grammar is None:
            rows[name] = Language(name, line, block)
        else:
            rows[name] = Language(name, line, block, grammar[:2], grammar[2])
    return rows


LANGUAGES: dict[str, Language] = _rows()
TEXT = LANGUAGES["text"]
_BY_KEY: dict[str, str] = {key: name for name, _, _, keys in _TABLE for key in keys.split()}


def named(name: str) -> Language | None:
    """The language of this name; an editor's language identifier will do. None when unknown."""
    return next((LANGUAGES[one] for one in language_ids.candidates(name) if one in LANGUAGES), None)


@lru_cache(maxsize=4096)
def resolve(identifier: str, path: str, first_line: str = "") -> Language:
    """The language of a document: by the editor's id, else the file's name, else its first line; TEXT else.

    An id that says nothing but "text" gives way to a name or a first line that says more.
    """
    found = named(identifier)
    return of(path, first_line) if found is None or found is TEXT else found


def of(path: str, text: str = "") -> Language:
    """The language of a file, by name, extension or interpreter line; TEXT when nothing tells."""
    found = _of_path(path.rpartition("/")[2])
    if found is None:
        return _of_shebang(text) or TEXT
    if found.name == "c" and path.endswith(".h") and _CPP_ONLY.search(text[:20_000]):
        return LANGUAGES["cpp"]
    return found


def recognised(path: str) -> bool:
    """Whether the file's name alone tells a language."""
    return _of_path(path.rpartition("/")[2]) is not None


@cache
def _of_suffix(suffix: str) -> Language | None:
    key = _BY_KEY.get(suffix) or _BY_KEY.get(suffix.lower())
    return LANGUAGES[key] if key else None


def _of_path(name: str) -> Language | None:
    if name in _BY_KEY:
        return LANGUAGES[_BY_KEY[name]]
    if name.startswith((".env", "Dockerfile.", "Makefile.")):
        return LANGUAGES[{".": "dotenv", "D": "dockerfile", "M": "make"}[name[0]]]
    dot = name.rfind(".")
    return _of_suffix(name[dot:]) if dot >= 0 else None


def _of_shebang(text: str) -> Language | None:
    if not text.startswith("#!"):
        return None
    match = _SHEBANG.match(text[:200])
    if match is None:
        return None
    command = match[2] if match[1].endswith("env") and match[2] else match[1]
    command = re.sub(r"[\d.]+$", "", command.rpartition("/")[2]).lower()
    name = _INTERPRETERS.get(command)
    return LANGUAGES[name] if name else None
