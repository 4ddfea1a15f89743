"""An editor's language id in, our name for the language out.

VS Code, Neovim, Emacs, Helix, Zed and the IDEs of JetBrains call the same language by different names. Ids are
compared in small letters, an Emacs mode without its ending. Of an id with dots (Vim's `yaml.ansible`) the last part
that means something counts. Ignores files.
"""

from __future__ import annotations

import re
from functools import lru_cache

# our name: what editors call it besides
_ALSO = """
python: python3 py cython starlark-python snakemake sage xonsh jupyter pyrex
javascript: js jsx javascriptreact javascript-jsx ecmascript mjs cjs node rjsx js2 js-jsx flow ecmascript-6 ecma6
typescript: ts mts cts
tsx: typescriptreact typescript-tsx typescript-jsx
go: golang gomod gowork go-mod go-work go.mod gotmpl-go vgo go-dot-mod go-dot-work
rust: rs rustic
java: jsp-java beanshell
c: c-header h arduino-c
cpp: c++ cuda cuda-cpp arduino ino cxx
csharp: cs c# c_sharp c-sharp csx cake
ruby: rb ruby-on-rails enh-ruby rspec podfile
php: php7 php8 phps hack
kotlin: kt kts
scala: scala3 sbt scala-sbt
lua: luau luajit moonscript-lua
bash: sh shell shellscript shell-script zsh ksh dash ash csh tcsh bats sh-script sh-base ebuild pkgbuild apkbuild\
 shell_script shell-session envrc direnv openrc
swift: swiftui
dart: flutter
objective-c: objc objectivec objective-cpp objcpp objective-c++ objectivec++ obj-c
groovy: gradle jenkinsfile gdsl
perl: pl perl5 cperl
raku: perl6 raku6
r: rlang rscript ess-r r-script
julia: jl ess-julia
elixir: ex exs heex-elixir ecto
erlang: erl
haskell: hs lhaskell literate-haskell haskell-literate hsc cabal-haskell cabal cabalproject
ocaml: ocaml.interface ocaml-interface ocamllex menhir ocaml_interface tuareg caml ocaml.ocamllex reason-ml mli
fsharp: f# fs fsharp_signature
clojure: clj clojurescript clojurec edn cljs cljc
lisp: commonlisp common-lisp common_lisp cl slime-repl lisp-interaction
elisp: emacs-lisp emacslisp emacs_lisp eask
scheme: chicken guile geiser
racket: rkt
zig: zir zig-build
nim: nims nimble
crystal: cr
d: dlang
v: vlang vsh
odin: odinlang
pascal: objectpascal delphi opascal free-pascal
ada: adb ads
fortran: fortran-modern fortranfreeform fortranfixedform fortran_free-form fortran_fixed-form f90 fpp fortran-free-form
cobol: cbl
vb: vbnet visual-basic basic vba vbs vbscript freebasic visual_basic
powershell: ps1 pwsh
batch: bat dosbatch cmd batchfile bat-file
nushell: nu
awk: gawk
vim: viml vimscript vimrc vim-script legacy-vim
sql: mysql plsql tsql pgsql postgres postgresql sqlite bigquery snowflake sqlite3 hive clickhouse
graphql: gql
protobuf: proto proto3 textproto pbtxt
html: xhtml htmldjango django-html htm web mhtml angular angular2html htmlangular html+erb-html webc
xml: xsl xslt xsd svg plist xaml nxml dtd ant msbuild resx
css: postcss tailwindcss pcss
scss: scss-css
sass: sass-indented
less: less-css
stylus: styl
vue: vuejs vue.js vue-html vue3
svelte: sveltekit
jinja: jinja2 jinja-html django twig nunjucks jinja-yaml
handlebars: hbs mustache glimmer html.handlebars
erb: eruby html.erb embedded-template html-erb rhtml heex eex leex ejs ejs-html eelixir html-eex
pug: jade
markdown: md gfm mdx rmd quarto vimwiki pandoc markdown_inline markdown-inline poly-markdown markdown.mdx qmd
restructuredtext: rst rest
asciidoc: adoc asciidoctor
org: orgmode
latex: tex bibtex bib plaintex context latex-expl3 texmf auctex yatex
typst: typst-code
json: jsonl json-lines ipynb geojson jsonlines
jsonc: json5 jsonwithcomments json-with-comments hjson
yaml: yml docker-compose dockercompose ansible github-actions-workflow github-actions helm azure-pipelines gitlab-ci\
 yaml-ansible kubernetes openapi cloudformation home-assistant salt esphome sls
toml: cargo-toml
ini: cfg conf conf-unix gitconfig git-config dosini editorconfig conf-windows systemd desktop hgrc npmrc gitattributes\
 git_config git-attributes wgetrc inputrc confini cfg-ini unit conf-space gitmodules
properties: java-properties java_properties jproperties conf-javaprop javaproperties spring-boot-properties
dotenv: env .env envfile
hcl: terraform terraform-vars tf opentofu hcl2 packer terraform-mock terraform-test tfvars nomad terragrunt
nix: nixos
starlark: bazel bzl tilt tiltfile buck bazel-build
dockerfile: docker containerfile
make: makefile gnumakefile makefile-gmake makefile-bsdmake makefile-automake mk bsdmake
just: justfile
cmake: cmakecache
gn: gnconfig
jsonnet: libsonnet
rego: opa open-policy-agent
solidity: sol
rescript: res
reason: reasonml
coffeescript: coffee litcoffee
gdscript: gd godot gdscript3 godot-gdscript
glsl: shader glsl-vert vertex fragment
hlsl: shaderlab cg
verilog: systemverilog sv
vhdl: vhd
assembly: asm nasm masm gas asm6502 asm-intel-x86-generic arm avr8 x86asm armasm z80 68k asmh8300 riscv nasm-x86 yasm
llvm: llvm-ir
wat: wasm wast webassembly
lean: lean4 lean3
coq: rocq
matlab: octave
prolog: swiprolog
gitcommit: git-commit git-commit-edit git_commit git-rebase gitrebase git-rebase-todo git_rebase jj-commit\
 jjdescription hgcommit gitsendemail
diff: patch git-diff
csv: tsv csv-semicolon rainbow-csv
text: plaintext plain-text plain_text txt fundamental log scminput
"""
_ENDING = re.compile(r"(?:-ts)?-mode$")


def _also() -> dict[str, str]:
    found = {}
    for row in filter(None, _ALSO.split("\n")):
        name, _, others = row.partition(": ")
        found.update(dict.fromkeys(others.split(), name))
    return found


_NAMES = _also()


@lru_cache(maxsize=1024)
def candidates(identifier: str) -> tuple[str, ...]:
    """The names that an editor's id may mean, the likeliest first; not each of them is a language's."""
    plain = _ENDING.sub("", identifier.strip().lower())
    joined = re.sub(r"[\s]+", "-", plain)
    parts = [joined, joined.replace("-", "_"), joined.replace("-", ""), *reversed(joined.split("."))]
    return tuple(dict.fromkeys(name for part in parts for name in (_NAMES.get(part), part) if name))
